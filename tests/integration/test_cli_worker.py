"""`backlane worker` against a real server: running, draining and restarting."""

from __future__ import annotations

import os
import re
import signal
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import grpc
import pytest

from backlane import Client, Status
from tests.conformance.door import new_tenant
from tests.integration.cli_process import PATIENCE_S, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backlane.testing import ServerProcess
    from tests.conftest import StartServer

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
APP = """\
import pathlib
import subprocess
import sys
import time

import backlane

worker = backlane.Worker()


@worker.callable
def greet(name: str) -> str:
    return f"hello {name}"


@worker.callable
def wait_for_word(folder: str) -> str:
    (pathlib.Path(folder) / "begun").touch()
    while not (pathlib.Path(folder) / "word").exists():
        time.sleep(0.01)
    return "heard"


@worker.callable
def never_end() -> None:
    while True:
        time.sleep(60)


@worker.callable
def ask_program(folder: str) -> str:
    program = "import sys; sys.path[:0] = ['.']; import app; print(app.wait_for_word(sys.argv[1]))"
    command = [sys.executable, "-c", program, folder]
    return subprocess.run(
        command, capture_output=True, check=True, process_group=0, text=True
    ).stdout
"""
MORE = """

@worker.callable
def part(name: str) -> str:
    return f"goodbye {name}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a worker's module."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.fixture(autouse=True)
def _hangups() -> Iterator[None]:
    """Programs start with the usual effect of SIGHUP, even if the tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def client(server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client with a tenant of its own."""
    with Client(server.target, tenant=tenant) as client:
        yield client


@pytest.fixture
def place(server: ServerProcess, tenant: str) -> list[str]:
    """The options that lead a worker to that client's executions."""
    return ["--target", server.target, "--tenant", tenant]


def until_running(client: Client, execution_id: str) -> None:
    """Block until a worker has taken an execution."""
    while client.get(execution_id).status is not Status.RUNNING:
        client.wait([execution_id], timeout=0.02)


def test_it_says_once_what_it_offers_and_runs_it(
    client: Client, place: list[str], folder: Path
) -> None:
    with started("worker", "app", *place, "--name", "w-1", folder=folder) as worker:
        assert (
            worker.line()
            == "backlane worker app starts, with ask_program, greet, never_end, wait_for_word"
        )
        execution = client.enqueue("greet", "Ada").wait(PATIENCE_S)

        assert execution.output == "hello Ada"
        assert re.fullmatch(
            f"w-1@[^@]+:{worker.process.pid}-[0-9a-f]{{6}}", execution.worker_id or ""
        )
        assert worker.end(signal.SIGTERM) == 0
        assert worker.out.read() == ""


@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_lets_a_callable_run_on(
    client: Client, place: list[str], folder: Path, stop: signal.Signals
) -> None:
    with started("worker", "app:worker", *place, folder=folder) as worker:
        handle = client.enqueue("wait_for_word", str(folder))
        # A lease that a stop crosses on its way is given back, so that nothing runs on.
        while not (folder / "begun").exists():
            client.wait([handle.execution_id], timeout=0.02)
        worker.process.send_signal(stop)
        worker.told("draining")
        (folder / "word").touch()

        assert handle.result(PATIENCE_S) == "heard"
        assert worker.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("stop", STOPS)
def test_a_callable_that_never_ends_does_not_keep_it_from_ending(
    client: Client, place: list[str], folder: Path, stop: signal.Signals
) -> None:
    options = [*place, "--drain-timeout", "100ms"]
    with started("worker", "app:worker", *options, folder=folder) as worker:
        handle = client.enqueue("never_end")
        until_running(client, handle.execution_id)

        assert worker.end(stop) == 0
        assert handle.get().status is Status.QUEUED


@pytest.fixture
def _nohup() -> Iterator[None]:
    """Starts programs as `nohup` does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_nohup")
def test_a_closed_terminal_does_not_stop_it_under_nohup(
    client: Client, place: list[str], folder: Path
) -> None:
    with started("worker", "app:worker", *place, folder=folder) as worker:
        assert client.run("greet", "Ada", wait_timeout=PATIENCE_S) == "hello Ada"
        worker.process.send_signal(signal.SIGHUP)
        assert client.run("greet", "Eve", wait_timeout=PATIENCE_S) == "hello Eve"

        assert worker.end(signal.SIGTERM) == 0
        assert worker.err.read().count("draining") == 1


def test_a_program_in_a_group_of_its_own_outlives_a_ctrl_c(
    client: Client, place: list[str], folder: Path
) -> None:
    with started("worker", "app:worker", *place, folder=folder, process_group=0) as worker:
        handle = client.enqueue("ask_program", str(folder))
        while not (folder / "begun").exists():
            client.wait([handle.execution_id], timeout=0.02)
        # A terminal sends it to all processes of the group.
        os.killpg(worker.process.pid, signal.SIGINT)
        worker.told("draining")
        (folder / "word").touch()

        assert handle.result(PATIENCE_S) == "heard\n"
        assert worker.process.wait(PATIENCE_S) == 0


def test_it_works_for_several_tenants(
    server: ServerProcess, client: Client, place: list[str], folder: Path
) -> None:
    other = new_tenant()
    with (
        started("worker", "app:worker", *place, "--tenant", other, folder=folder),
        Client(server.target, tenant=other) as second,
    ):
        assert client.run("greet", "Ada", wait_timeout=PATIENCE_S) == "hello Ada"
        assert second.run("greet", "Eve", wait_timeout=PATIENCE_S) == "hello Eve"


def test_a_server_without_the_call_ends_it_with_one_line_and_status_4(folder: Path) -> None:
    stranger = grpc.server(futures.ThreadPoolExecutor(1))
    target = f"127.0.0.1:{stranger.add_insecure_port('127.0.0.1:0')}"
    stranger.start()
    with started("worker", "app:worker", "--target", target, folder=folder) as worker:
        status = worker.process.wait(PATIENCE_S)
        told = worker.err.read()
    stranger.stop(None).wait()

    assert (status, "Traceback" in told) == (4, False)
    assert told.splitlines()[-1].startswith(
        f"backlane: the server at {target} does not know this call"
    )


@pytest.mark.parametrize("stop", STOPS)
def test_a_changed_source_makes_it_anew_and_a_stop_ends_both(
    client: Client, place: list[str], folder: Path, stop: signal.Signals
) -> None:
    with started("worker", "app:worker", *place, "--reload", folder=folder) as worker:
        assert worker.line().endswith("starts, with ask_program, greet, never_end, wait_for_word")
        assert client.run("greet", "Ada", wait_timeout=PATIENCE_S) == "hello Ada"
        (folder / "app.py").write_text(APP + MORE)

        assert worker.told("changed") == (
            "backlane: app.py changed: draining and restarting the worker"
        )
        assert worker.line().endswith(
            "starts, with ask_program, greet, never_end, part, wait_for_word"
        )
        assert client.run("part", "Ada", wait_timeout=PATIENCE_S) == "goodbye Ada"
        assert worker.end(stop) == 0
        # The pipe ends with the last process that has it.
        assert "Traceback" not in worker.err.read()


def test_a_mistake_in_a_source_is_told_and_can_be_mended(
    client: Client, place: list[str], folder: Path
) -> None:
    (folder / "app.py").write_text("1 / 0\n")
    with started("worker", "app:worker", *place, "--reload", folder=folder) as worker:
        worker.told("ZeroDivisionError: division by zero")
        assert worker.told("ended") == (
            "backlane: the worker ended with status 2: it starts again when a source file changes"
        )
        (folder / "app.py").write_text(APP)

        assert client.run("greet", "Ada", wait_timeout=PATIENCE_S) == "hello Ada"
        assert worker.end(signal.SIGINT) == 0


@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_without_a_server_is_no_trouble(folder: Path, stop: signal.Signals) -> None:
    with started("worker", "app", "--target", "127.0.0.1:1", folder=folder) as worker:
        worker.told("no server at 127.0.0.1:1: trying until there is one")

        assert worker.end(stop) == 0
        [last] = worker.err.read().splitlines()
        assert last.endswith("draining, for 30 s at most")


def test_a_server_behind_a_proxy_is_named_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "no_grpc_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://user:word@127.0.0.1:1")
    with started("worker", "app", "--target", "10.9.8.7:1", folder=folder) as worker:
        said = worker.told("no server at 10.9.8.7:1: trying until there is one")

        assert worker.end(signal.SIGTERM) == 0
    assert said.endswith(" (through the proxy http://127.0.0.1:1, which http_proxy names)")


def test_a_worker_that_was_killed_is_told_so_and_a_stop_ends_with_130(folder: Path) -> None:
    (folder / "app.py").write_text(f"{APP}\nimport os\nos.kill(os.getpid(), 9)\n")
    with started("worker", "app", "--reload", folder=folder) as worker:
        assert worker.told("killed") == (
            "backlane: the worker was killed by signal 9: it starts again when a source file "
            "changes"
        )
        assert worker.end(signal.SIGINT) == 130


def test_a_module_that_cannot_be_watched_is_told_as_any_other(folder: Path) -> None:
    with started("worker", "__main__:x", "--reload", folder=folder) as worker:
        assert worker.told("__main__ has no 'x'")
        assert worker.told("ended with status 2")
        assert worker.end(signal.SIGINT) == 2
        assert "Traceback" not in worker.err.read()


class Page(BaseHTTPRequestHandler):
    """What a web server answers."""

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def test_what_is_no_server_of_this_kind_is_told_from_none(folder: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Page) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        target = f"127.0.0.1:{web.server_port}"
        with started("worker", "app", "--target", target, folder=folder) as worker:
            said = worker.told(f"no server at {target}: trying until there is one (")
        web.shutdown()

    assert "HTTP/2" in said or "http1" in said


def test_it_outlives_its_server(start_server: StartServer, folder: Path) -> None:
    server = start_server(folder / "data")
    with (
        started("worker", "app:worker", "--target", server.target, folder=folder),
        Client(server.target, tenant="default") as client,
    ):
        assert client.run("greet", "Ada", wait_timeout=PATIENCE_S) == "hello Ada"
        server.restart()
        assert client.run("greet", "Eve", wait_timeout=PATIENCE_S) == "hello Eve"
