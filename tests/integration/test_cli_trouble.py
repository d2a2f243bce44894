"""Commands that fail: absent servers, other servers, refusals, Ctrl-C. Each prints one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.conformance.door import UNKNOWN_ID
from tests.integration.cli_process import PATIENCE_S, started

if TYPE_CHECKING:
    from pathlib import Path

    from backlane.testing import ServerProcess
    from tests.conftest import StartServer
    from tests.integration.cli_process import Ask


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("enqueue", "no good"), "callable_name: may hold letters, digits and . _ : @ / - only"),
        (("stats", "--tenant", "no good"), "tenant_id: may hold letters, digits"),
        (("enqueue", "greet", "--timeout", "0s"), "config.timeout_ms: must be at least 1"),
        (
            ("enqueue", "greet", "--metadata", "a=123456789012345678901"),
            "metadata cannot be {'a': 123456789012345678901}: the value is 1234567890123456789",
        ),
        (("get", "nope"), "execution_id: must be `exec_` followed by a 27-character KSUID"),
    ],
)
def test_what_the_server_refuses_is_one_line_and_status_2(
    ask: Ask, arguments: tuple[str, ...], line: str
) -> None:
    answer = ask(*arguments)

    assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert answer.err.startswith(f"backlane: {line}")


@pytest.mark.parametrize("size", [2 << 20, 30 << 20])
def test_an_input_that_is_too_large_is_one_line_and_status_2(
    ask: Ask, tmp_path: Path, size: int
) -> None:
    (tmp_path / "input").write_bytes(b"x" * size)

    answer = ask("enqueue", "greet", f"@{tmp_path}/input")

    assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert str(size)[:3] in answer.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("enqueue", "greet"),
        ("run", "greet"),
        ("get", UNKNOWN_ID),
        ("list",),
        ("wait", UNKNOWN_ID),
        ("cancel", UNKNOWN_ID),
        ("peek",),
        ("stats",),
    ],
)
def test_a_server_that_is_not_there_is_one_line_and_status_4(
    ask: Ask, arguments: tuple[str, ...]
) -> None:
    assert ask(*arguments, "--target", "127.0.0.1:1") == (
        4,
        "",
        (
            "backlane: no server at 127.0.0.1:1: start one with `backlane serve`, or name another "
            "with --target\n"
        ),
    )


class Silent(BaseHTTPRequestHandler):
    """A web server that keeps its log to itself."""

    def log_message(self, *_: object) -> None:
        pass


def test_a_web_server_is_told_apart(ask: Ask) -> None:
    with HTTPServer(("127.0.0.1", 0), Silent) as web:
        Thread(target=web.serve_forever, daemon=True).start()
        target = f"127.0.0.1:{web.server_port}"
        answer = ask("stats", "--target", target)
        web.shutdown()

    assert answer == (
        4,
        "",
        f"backlane: the server at {target} is not a Backlane server: name another with --target\n",
    )


@pytest.mark.parametrize("arguments", [("enqueue", "greet"), ("stats",)])
def test_a_server_without_the_call_is_told_apart(ask: Ask, arguments: tuple[str, ...]) -> None:
    stranger = grpc.server(futures.ThreadPoolExecutor(1))
    target = f"127.0.0.1:{stranger.add_insecure_port('127.0.0.1:0')}"
    stranger.start()
    answer = ask(*arguments, "--target", target)
    stranger.stop(None).wait()

    assert answer == (
        4,
        "",
        (
            f"backlane: the server at {target} does not know this call: it is not a Backlane "
            "server, or its version differs from that of this command; see `backlane --version`\n"
        ),
    )


def test_a_server_that_is_stuck_is_not_called_absent(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backlane.cli.connection.CALL_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        answer = ask("stats", "--target", f"{host}:{port}")

    assert (answer.status, answer.out) == (4, "")
    assert answer.err.startswith(f"backlane: no reply from {host}:{port} in time: ")


@pytest.mark.parametrize(
    ("arguments", "status"), [(("enqueue", "greet"), 74), (("stats",), 74), (("--help",), 74)]
)
def test_a_disk_that_is_full_is_one_line(
    server: ServerProcess, tenant: str, arguments: tuple[str, ...], status: int
) -> None:
    ended = run_with("> /dev/full", *arguments, server=server, tenant=tenant)

    assert ended.returncode == status
    assert ended.stderr.startswith(
        "backlane: the output cannot be written: No space left on device"
    )
    assert ended.stderr.count("\n") == 1
    assert ("was enqueued" in ended.stderr) == (arguments[0] == "enqueue")


@pytest.mark.parametrize(
    ("closed", "arguments"),
    [(">&-", ("stats",)), ("2>&-", ("stats",)), ("<&-", ("enqueue", "x", "-"))],
)
def test_what_a_caller_has_closed_is_no_trouble(
    server: ServerProcess, tenant: str, closed: str, arguments: tuple[str, ...]
) -> None:
    ended = run_with(closed, *arguments, server=server, tenant=tenant)

    assert (ended.returncode, ended.stderr) == (0, "")


def run_with(
    redirection: str, *arguments: str, server: ServerProcess, tenant: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell that redirects something of it."""
    return subprocess.run(
        ["sh", "-c", f'"$0" -m backlane "$@" {redirection}', sys.executable, *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, "BACKLANE_TARGET": server.target, "BACKLANE_TENANT": tenant},
        text=True,
        timeout=PATIENCE_S,
    )


def test_run_that_is_interrupted_tells_that_the_execution_goes_on(
    server: ServerProcess, tenant: str, tmp_path: Path
) -> None:
    place = ["--target", server.target, "--tenant", tenant]
    with started("run", "nobody.offers", *place, folder=tmp_path) as process:
        execution_id = process.told("is still queued").split()[1]

        assert process.end(signal.SIGINT) == 130
        assert process.err.read() == (
            f"backlane: interrupted; the execution continues; see `backlane wait {execution_id} "
            f"{' '.join(place)}`\n"
        )


def test_run_whose_server_dies_tells_that_the_execution_was_enqueued(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data")
    with started("run", "nobody.offers", "--target", server.target, folder=tmp_path) as process:
        execution_id = process.told("is still queued").split()[1]
        server.kill()

        assert process.process.wait(PATIENCE_S) == 4
        assert process.err.read() == (
            f"backlane: no server at {server.target}: start one with `backlane serve`, or name "
            f"another with --target; {execution_id} was enqueued; the execution continues; see "
            f"`backlane wait {execution_id} --target {server.target}`\n"
        )


def test_a_reader_that_goes_away_is_no_traceback(ask: Ask, tmp_path: Path) -> None:
    ask("enqueue", "greet", "x" * 200_000)
    with started("list", "--full", "--json", folder=tmp_path) as process:
        process.out.close()

        assert process.process.wait(PATIENCE_S) == 141
        assert process.err.read() == ""
