"""What both clients promise of their enqueues: one stream, shared, whatever becomes of it."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backlane import AsyncClient, Worker, errors
from backlane.client import loop_pipe, thread_pipe
from tests.conformance.door import new_tenant
from tests.integration.client_kinds import KINDS, PATIENCE_S, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backlane import Client
    from backlane.testing import ServerProcess
    from tests.conftest import StartServer

CALLERS = 8
EACH = 150


class Counter:
    """Counts what threads do, and lets one wait for a number."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._count = 0
        self._changed = threading.Condition()

    def add(self) -> None:
        """Count one more."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait until so many are counted."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._count >= count, PATIENCE_S)


@contextmanager
def callers(client: Client, counter: Counter) -> Iterator[list[list[str]]]:
    """Enqueue from many threads during the block; their ids are there after it."""
    ids: list[list[str]] = []

    def enqueue_some(caller: int) -> list[str]:
        made = []
        for number in range(EACH):
            made.append(client.enqueue("x", f"{caller} {number}").execution_id)
            counter.add()
        return made

    with ThreadPoolExecutor(CALLERS) as pool:
        running = [pool.submit(enqueue_some, caller) for caller in range(CALLERS)]
        yield ids
        ids += [one.result(PATIENCE_S) for one in running]


def check_each_is_there_once(client: Client, ids: list[list[str]]) -> None:
    """Compare what was acknowledged with what the server has, and its order with the callers'."""
    there = {record.execution_id: record.input for record in client.list(full=True)}
    expected = {
        execution_id: f'"{caller} {number}"'
        for caller, made in enumerate(ids)
        for number, execution_id in enumerate(made)
    }
    assert there == expected
    assert len(there) == CALLERS * EACH
    assert ids == [sorted(made) for made in ids]


def kill(server: ServerProcess) -> None:
    """End a server as a crash would, and start it again."""
    server.restart()


def drain(server: ServerProcess) -> None:
    """Stop a server as an operator would, and start it again."""
    assert server.stop() == 0
    server.restart()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two clients it is."""
    kind: str = request.param
    return kind


@pytest.mark.parametrize("end", [kill, drain])
def test_servers_that_end_lose_nothing_and_double_nothing(
    kind: str, end: Callable[[ServerProcess], None], start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data")
    counter = Counter()
    with open_client(kind, server.target, "acme", call_timeout=PATIENCE_S) as client:
        with callers(client, counter) as ids:
            for count in (100, 400, 700):
                counter.wait_for(count)
                end(server)

        check_each_is_there_once(client, ids)


def test_many_outlive_a_crash_in_their_midst(
    kind: str, start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data")
    drawn = Counter()

    def inputs() -> Iterator[int]:
        for number in range(20_000):
            drawn.add()
            yield number

    with open_client(kind, server.target, "acme", call_timeout=PATIENCE_S) as client:
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(client.enqueue_many, "x", inputs())
            drawn.wait_for(9_000)
            kill(server)
            handles = sent.result(PATIENCE_S)

        ids = [handle.execution_id for handle in handles]
        assert ids == sorted(set(ids))
        assert [record.execution_id for record in client.list()] == ids[::-1]


def test_a_batch_outlives_a_crash(kind: str, start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(tmp_path / "data")
    with (
        open_client(kind, server.target, "acme", call_timeout=PATIENCE_S) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.stats()
        with stopped(server):
            sent = pool.submit(client.enqueue_many, "x", range(200))
            kill(server)
        handles = sent.result(PATIENCE_S)

        ids = [handle.execution_id for handle in handles]
        assert ids == sorted(set(ids))
        assert [record.execution_id for record in client.list()] == ids[::-1]
        assert [handle.get().input for handle in handles[:3]] == ["0", "1", "2"]


def test_a_batch_that_is_refused_tells_what_became_of_each_input(
    kind: str, start_server: StartServer
) -> None:
    server = start_server(args=("--limit", "max_queue_per_tenant=60"))
    with open_client(kind, server.target, "acme") as client:
        outcomes = client.enqueue_many("x", range(100), return_exceptions=True)

        assert [type(one) for one in outcomes[60:]] == [errors.QueueFullError] * 40
        made = [handle.execution_id for handle in outcomes if not isinstance(handle, Exception)]
        assert [record.execution_id for record in client.list()] == made[::-1]
        assert len(made) == 60


def test_many_callers_share_one_stream(kind: str, start_server: StartServer) -> None:
    server = start_server(args=("--max-streams", "1"))
    with open_client(kind, server.target, "acme") as client:
        with callers(client, Counter()) as ids:
            pass

        check_each_is_there_once(client, ids)


def test_an_idle_stream_makes_room_for_others(
    kind: str, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(args=("--max-streams", "1"))
    with (
        open_client(kind, server.target, "acme") as first,
        open_client(kind, server.target, "acme") as second,
    ):
        first.enqueue("x", 1)
        with pytest.raises(errors.RateLimitedError) as refused:
            second.enqueue("x", 2)
        monkeypatch.setattr(thread_pipe, "IDLE_S", 0.01)
        monkeypatch.setattr(loop_pipe, "IDLE_S", 0.01)
        # Only now does it know how short a while is; from then on it leaves.
        first.enqueue("x", 3)
        until_done(lambda: second.enqueue("x", 4), errors.RateLimitedError)
        until_done(lambda: first.enqueue("x", 5), errors.RateLimitedError)

        assert refused.value.retry_after_s is not None
        assert sorted(record.input or "" for record in first.list(full=True)) == list("1345")


def until_done(call: Callable[[], object], refusal: type[Exception]) -> None:
    """Repeat a call until it is not refused any more."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            call()
        except refusal:
            continue
        return
    raise AssertionError(f"still refused after {PATIENCE_S} s")


def test_what_breaks_a_message_as_a_whole_breaks_nobodys_enqueue(
    kind: str, start_server: StartServer
) -> None:
    """A server that takes 3 items a message, from a client that knows nothing of it."""
    server = start_server(args=("--limit", "max_batch_items=3"))
    with open_client(kind, server.target, "acme") as client:
        many = client.enqueue_many("many", range(50))
        with callers(client, Counter()) as ids:
            pass

        assert [handle.get().input for handle in many] == [str(number) for number in range(50)]
        for handle in many:
            handle.cancel()
        waiting = list(client.list(status="queued"))
        assert len(waiting) == CALLERS * EACH
        assert {record.execution_id for record in waiting} == {one for some in ids for one in some}


def test_an_item_that_no_message_can_hold_fails_alone(kind: str, start_server: StartServer) -> None:
    limits = ("max_input_bytes=1000", "max_batch_bytes=4000")
    server = start_server(args=tuple(word for limit in limits for word in ("--limit", limit)))
    with open_client(kind, server.target, "acme") as client:
        outcomes = client.enqueue_many(
            "x", ["a", "b" * 500, "c" * 5000, "d"], return_exceptions=True
        )

        assert [isinstance(one, errors.TooLargeError) for one in outcomes] == [
            False, False, True, False,
        ]  # fmt: skip
        assert client.enqueue("x", "e").existing is False


@contextmanager
def stopped(server: ServerProcess) -> Iterator[None]:
    """A server that is there and does nothing during the block."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_a_server_that_does_not_answer_costs_a_caller_its_own_time_alone(
    kind: str, start_server: StartServer
) -> None:
    server = start_server()
    with (
        open_client(kind, server.target, "acme", call_timeout=PATIENCE_S) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.enqueue("x", 1)
        with stopped(server):
            patient = pool.submit(client.enqueue, "x", 2)
            with pytest.raises(errors.CallTimeoutError) as late:
                client.enqueue("x", 3, call_timeout=0.2)
        answered = patient.result(PATIENCE_S)

        assert late.value.message == f"{server.target} did not answer within 0.2 s"
        assert late.value.maybe_applied is True
        assert answered.get().input == "2"
        assert client.enqueue("x", 4).existing is False


def test_calls_and_waits_outlive_a_crash(
    kind: str, start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data")
    worker = Worker(target=server.target, tenants="acme")

    @worker.callable
    def double(number: int) -> int:
        return 2 * number

    with (
        open_client(kind, server.target, "acme", call_timeout=PATIENCE_S) as client,
        ThreadPoolExecutor(3) as pool,
    ):
        handle = client.enqueue("double", 1)
        waited = pool.submit(handle.result, PATIENCE_S)
        run = pool.submit(lambda: client.run("double", 21, wait_timeout=PATIENCE_S))
        until_done(lambda: check_ready(client, 2), AssertionError)
        server.kill()
        read = pool.submit(handle.get)
        server.restart()
        with worker.running():
            assert waited.result(PATIENCE_S) == 2
            assert run.result(PATIENCE_S) == 42

        assert read.result(PATIENCE_S).execution_id == handle.execution_id
        assert sorted(record.input or "" for record in client.list(full=True)) == ["1", "21"]


def check_ready(client: Client, count: int) -> None:
    """Fail unless so many executions are ready."""
    assert client.stats().ready == count


def test_a_tenant_that_is_full_is_told_at_once(kind: str, start_server: StartServer) -> None:
    server = start_server(args=("--limit", "max_queue_per_tenant=2"))
    with open_client(kind, server.target, new_tenant()) as client:
        outcomes = client.enqueue_many("x", range(3), return_exceptions=True)
        with pytest.raises(errors.QueueFullError) as full:
            client.enqueue("x")

        assert [type(one).__name__ for one in outcomes[2:]] == ["QueueFullError"]
        assert full.value.limit == 2
        assert full.value.retry_after_s is not None


async def test_a_task_that_is_cancelled_leaves_no_other_behind(server: ServerProcess) -> None:
    async with AsyncClient(server.target, tenant=new_tenant()) as client:

        def inputs() -> Iterator[str]:
            for number in range(1_000_000):
                if number == 4_000:
                    sending.cancel()
                yield "y" * 1000

        sending = asyncio.create_task(client.enqueue_many("x", inputs()))
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.sleep(0)
        package = Path(loop_pipe.__file__).parent
        coroutines = [task.get_coro() for task in asyncio.all_tasks()]
        of_the_client = [
            coroutine.__name__
            for coroutine in coroutines
            if inspect.iscoroutine(coroutine)
            and package in Path(coroutine.cr_code.co_filename).parents
        ]
        left = [name for name in of_the_client if name not in {"_run", "_write"}]

        assert left == []
        assert (await client.enqueue("x", "after")).existing is False


async def test_many_tasks_are_one_message_after_another(server: ServerProcess) -> None:
    async with AsyncClient(server.target, tenant=new_tenant()) as client:
        handles = await asyncio.gather(*(client.enqueue("x", number) for number in range(2_000)))

        ids = [handle.execution_id for handle in handles]
        assert ids == sorted(set(ids))


async def test_a_client_of_another_loop_says_so(server: ServerProcess) -> None:
    async with AsyncClient(server.target, tenant=new_tenant()) as client:
        await client.enqueue("x")

        async def elsewhere() -> None:
            await client.enqueue("x")

        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await asyncio.to_thread(asyncio.run, elsewhere())
