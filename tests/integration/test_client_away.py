"""What clients say where there is no server, a wrong one, or another process than their own."""

from __future__ import annotations

import itertools
import math
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from backlane import errors
from backlane.client.many import BATCH_ITEMS_MIN
from backlane.client.outbox import MESSAGE_ITEMS_MAX
from tests.conformance.door import UNKNOWN_ID, new_tenant
from tests.integration.client_kinds import KINDS, PATIENCE_S, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from backlane import Client
    from backlane.testing import ServerProcess
    from tests.conftest import StartServer

CALLS: dict[str, Callable[[Client], object]] = {
    "enqueue": lambda client: client.enqueue("x"),
    "enqueue_many": lambda client: raised(client.enqueue_many("x", [1], return_exceptions=True)),
    "enqueue_many as a batch": lambda client: raised(
        client.enqueue_many("x", [1] * BATCH_ITEMS_MIN, return_exceptions=True)
    ),
    "run": lambda client: client.run("x", wait_timeout=0),
    "get": lambda client: client.get(UNKNOWN_ID),
    "list": lambda client: list(client.list()),
    "wait": lambda client: client.wait([UNKNOWN_ID], timeout=0),
    "cancel": lambda client: client.cancel(UNKNOWN_ID),
    "peek": lambda client: client.peek(),
    "stats": lambda client: client.stats(),
}
FORKS = """
import asyncio, os, sys
from backlane import AsyncClient, Client, errors

def tell(pipe, call):
    try:
        call()
    except errors.ForkedError as error:
        os.write(pipe, f"{error}\\n".encode())

def threads(target):
    with Client(target) as client:
        handle = client.enqueue("x", 1)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            tell(write, lambda: client.enqueue("x", 2))
            tell(write, lambda: client.enqueue_many("x", [3]))
            tell(write, handle.get)
            tell(write, lambda: client.wait([handle]))
            client.close()
            os._exit(0)
        finish(child, read, write)
        assert client.enqueue("x", 4).existing is False

async def loop(target):
    async with AsyncClient(target) as client:
        handle = await client.enqueue("x", 1)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            for call in (client.enqueue("x", 2), client.enqueue_many("x", [3]), handle.get()):
                try:
                    await call
                except errors.ForkedError as error:
                    os.write(write, f"{error}\\n".encode())
            await client.close()
            os._exit(0)
        finish(child, read, write)
        assert (await client.enqueue("x", 4)).existing is False

def finish(child, read, write):
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    print(os.getpid(), child)
    print(os.read(read, 9999).decode(), end="")

if sys.argv[1] == "threads":
    threads(sys.argv[2])
else:
    asyncio.run(loop(sys.argv[2]))
"""
UNCLOSED = {
    "threads": """
import sys
from backlane import Client
client = Client(sys.argv[1])
print(client.enqueue("x").existing)
""",
    "loop": """
import asyncio, sys
from backlane import AsyncClient
async def main():
    client = AsyncClient(sys.argv[1])
    print((await client.enqueue("x")).existing)
asyncio.run(main())
""",
}


def raised(outcomes: Sequence[object]) -> None:
    """Raise the first of mixed outcomes that is an error."""
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two clients it is."""
    kind: str = request.param
    return kind


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("name", CALLS)
def test_no_server_is_one_error_that_names_the_target_and_the_way_out(
    kind: str, name: str, nowhere: str, *, waits: bool
) -> None:
    settings = {"call_timeout": 0.1 if waits else PATIENCE_S, "wait_for_server": waits}
    with open_client(kind, nowhere, "acme", **settings) as client:
        before = time.monotonic()
        with pytest.raises(errors.UnavailableError) as away:
            CALLS[name](client)

    way_out = "start one with `backlane serve`, or name another target"
    assert str(away.value).startswith(f"UNAVAILABLE: no server at {nowhere}: {way_out}")
    assert str(away.value).count(nowhere) <= 2
    assert time.monotonic() - before < PATIENCE_S / 2


def test_a_client_that_does_not_wait_finds_a_server_that_is_there(
    kind: str, server: ServerProcess
) -> None:
    with open_client(kind, server.target, new_tenant(), wait_for_server=False) as client:
        assert client.enqueue("x").get().status == "queued"


def test_a_server_that_starts_in_time_is_as_good_as_one_that_was_there(
    kind: str, nowhere: str, start_server: StartServer
) -> None:
    with (
        open_client(kind, nowhere, "acme", call_timeout=PATIENCE_S) as client,
        futures.ThreadPoolExecutor(2) as pool,
    ):
        enqueued = pool.submit(client.enqueue, "x", 1)
        counted = pool.submit(client.stats)
        start_server(listen=nowhere)

        assert enqueued.result(PATIENCE_S).existing is False
        assert counted.result(PATIENCE_S).running == 0


@contextmanager
def other_service() -> Iterator[str]:
    """A gRPC server that is no Backlane server."""
    serving = grpc.server(futures.ThreadPoolExecutor(1))
    port = serving.add_insecure_port("127.0.0.1:0")
    serving.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        serving.stop(None).wait()


@contextmanager
def web_server() -> Iterator[str]:
    """A server that answers anything with an error of HTTP/1.1."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_S)


@pytest.mark.parametrize("name", ["enqueue", "get"])
def test_a_server_of_another_kind_says_what_it_is_not(kind: str, name: str) -> None:
    with other_service() as target, open_client(kind, target, "acme") as client:
        with pytest.raises(errors.UnimplementedError) as refused:
            CALLS[name](client)

        assert f"the server at {target} does not know this call" in refused.value.message
        assert "no Backlane server" in refused.value.message


@pytest.mark.parametrize("name", ["enqueue", "get"])
def test_a_server_that_speaks_something_else_is_no_server(kind: str, name: str) -> None:
    with (
        web_server() as target,
        open_client(kind, target, "acme", call_timeout=0.3) as client,
        pytest.raises(errors.UnavailableError, match=f"no server at {target}"),
    ):
        CALLS[name](client)


def test_a_client_refuses_to_work_in_a_fork(
    kind: str, server: ServerProcess, tmp_path: Path
) -> None:
    script = tmp_path / "forks.py"
    script.write_text(FORKS)

    run = subprocess.run(
        [sys.executable, script, kind, server.target],
        capture_output=True,
        check=True,
        # gRPC's own handlers crash one child in ten of a process with an event loop.
        env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"},
        text=True,
        timeout=PATIENCE_S,
    )

    pids, *refusals = run.stdout.splitlines()
    parent, child = pids.split()
    name = "Client" if kind == "threads" else "AsyncClient"
    expected = (
        f"this {name} was opened in process {parent} and cannot be used in {child}, a fork of it: "
        "make it after the fork, or start processes with the `spawn` method"
    )
    assert refusals == [expected] * (4 if kind == "threads" else 3)


UNOPENED = """
import asyncio, os, sys
from backlane import AsyncClient, Client

async def loop(client):
    print((await client.enqueue("x", 1)).existing)
    await client.close()

def threads(client):
    print(client.enqueue("x", 1).existing)
    client.close()

client = (Client if sys.argv[1] == "threads" else AsyncClient)(sys.argv[2])
child = os.fork()
if child == 0:
    asyncio.run(loop(client)) if sys.argv[1] == "loop" else threads(client)
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
"""A program that makes a client, forks, and uses the client in the child only."""


def test_a_client_that_opened_nothing_works_in_a_fork(kind: str, server: ServerProcess) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", UNOPENED, kind, server.target],
        capture_output=True,
        check=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert (run.stdout, run.stderr) == ("False\n", "")


def test_a_client_that_was_closed_before_its_first_call_says_so(
    kind: str, server: ServerProcess
) -> None:
    with open_client(kind, server.target, "acme") as client:
        client.close()
        for name in ("enqueue", "get"):
            with pytest.raises(errors.CallCancelledError, match="this client is closed"):
                CALLS[name](client)


def test_a_program_that_never_closes_its_client_ends_all_the_same(
    kind: str, server: ServerProcess
) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", UNCLOSED[kind], server.target],
        capture_output=True,
        check=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert (run.stdout, run.stderr) == ("False\n", "")


@pytest.mark.parametrize("call", ["stats()", "enqueue('x')"])
def test_a_program_that_found_no_server_ends_all_the_same(nowhere: str, call: str) -> None:
    script = f"""
import atexit, sys
from backlane import Client, errors
client = Client(sys.argv[1], call_timeout=0.05)
def count():
    try:
        client.{call}
    except errors.UnavailableError as error:
        print(type(error).__name__)
atexit.register(count)
count()
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, nowhere],
        capture_output=True,
        check=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert (run.stdout, run.stderr) == ("UnavailableError\n" * 2, "")


def test_several_calls_that_are_late_leave_a_channel_that_can_be_closed(
    kind: str, nowhere: str
) -> None:
    with open_client(kind, nowhere, "acme", call_timeout=0.05) as client:
        with futures.ThreadPoolExecutor(8) as pool:
            late = [pool.submit(CALLS["get"], client) for _ in range(8)]

        assert {type(one.exception()) for one in late} == {errors.UnavailableError}


@pytest.mark.parametrize("given", [0, -1, math.nan, math.inf, 1e12, "5", True, timedelta(0)])
def test_a_time_that_is_none_is_refused_and_nothing_is_sent(
    kind: str,
    server: ServerProcess,
    given: Any,  # noqa: ANN401  # it is none
) -> None:
    refused = pytest.raises(errors.InvalidInputError, match="call_timeout must be")
    with refused, open_client(kind, server.target, "acme", call_timeout=given):
        pass
    with open_client(kind, server.target, new_tenant()) as client:
        with refused:
            client.enqueue("x", call_timeout=given)
        assert client.stats().pending == 0


def test_a_wait_ends_soon_after_its_own_time_where_no_server_is(kind: str, nowhere: str) -> None:
    with open_client(kind, nowhere, "acme", call_timeout=10 * PATIENCE_S) as client:
        before = time.monotonic()
        with pytest.raises(errors.UnavailableError):
            client.wait([UNKNOWN_ID], timeout=timedelta(milliseconds=10))
        assert time.monotonic() - before < PATIENCE_S


def test_many_that_nobody_takes_stop_to_be_drawn(kind: str, nowhere: str) -> None:
    large = "y" * 900_000
    drawn = itertools.count()
    with (
        open_client(kind, nowhere, "acme", call_timeout=0.1) as client,
        pytest.raises(errors.EnqueueManyError),
    ):
        client.enqueue_many("x", (large for _ in drawn))
    # Those for which there is room, and the one message that waits for it.
    assert next(drawn) <= 20
    with (
        open_client(kind, nowhere, "acme", wait_for_server=False) as client,
        pytest.raises(errors.EnqueueManyError) as away,
    ):
        client.enqueue_many("x", drawn)

    assert {type(one) for one in away.value.outcomes} == {errors.UnavailableError}


def test_what_a_failing_source_leaves_behind_is_not_sent_later(
    kind: str, nowhere: str, start_server: StartServer
) -> None:
    def inputs() -> Iterator[int]:
        yield from range(5_200)
        raise LookupError("no more")

    with open_client(kind, nowhere, "acme", call_timeout=PATIENCE_S) as client:
        with pytest.raises(LookupError, match="no more"):
            client.enqueue_many("x", inputs())
        start_server(listen=nowhere)
        client.enqueue("x")

        # The message that waited for the server cannot be called back.
        assert client.stats().pending <= MESSAGE_ITEMS_MAX + 1
