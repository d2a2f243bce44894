"""What the log says of callables that do not stop when their attempt has ended."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.book import Book
from backlane.worker.callable import BackgroundCallable
from backlane.worker.crew import Crew
from backlane.worker.threads import DaemonPool
from backlane.worker.watchdog import LoopThread, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backlane.worker.lane import Begun

PATIENCE_S = 10
LEASE_S = 30.0
ATTEMPT_S = 60.0


class FreeBook(Book):
    """A book that says when a slot becomes free."""

    def __init__(self, slots: int, clock: Callable[[], float]) -> None:
        super().__init__(slots, silence_s=60.0, clock=clock)
        self.freed = threading.Semaphore(0)

    def settle(self, results: Any) -> list[Begun]:  # noqa: ANN401
        begun = super().settle(results)
        self.freed.release()
        return begun

    def vacate(self, token: str) -> list[Begun]:
        begun = super().vacate(token)
        self.freed.release()
        return begun


class Bench:
    """A lane of two slots and its watchdog, on a clock that stands still."""

    def __init__(self, thread: LoopThread) -> None:
        self.now = 1000.0
        self.thread = thread
        self.book = FreeBook(2, lambda: self.now)
        self.may_end = threading.Event()
        self.began = threading.Semaphore(0)
        self.callables = {
            made.name: made
            for made in (BackgroundCallable(self.hang), BackgroundCallable(self.refuse))
        }
        pool = DaemonPool(2, "test")
        self.crew = Crew(*(self.book, self.callables, "w", LEASE_S, thread.loop, pool))
        self.watchdog = Watchdog(thread, [self.crew], lambda: self.now)

    def hang(self) -> None:
        """Never checks whether it should stop."""
        self.began.release()
        self.wait_inside()

    def wait_inside(self) -> None:
        self.may_end.wait(PATIENCE_S)

    async def refuse(self) -> None:
        """Swallows each cancel."""
        self.began.release()
        while not self.may_end.is_set():
            await self.swallow()

    async def swallow(self) -> None:
        try:
            await asyncio.sleep(0.001 if self.may_end.is_set() else 3600)
        except asyncio.CancelledError:
            self.began.release()

    def begin(self, name: str, token: str) -> None:
        """Run a callable, until it has begun."""
        execution = records.BackgroundExecution(execution_id=f"exec_{token}", callable_name=name)
        lease = api.Lease(execution=execution, lease_token=token)
        lease.lease_expires_at.FromSeconds(1000)
        lease.attempt_deadline.FromSeconds(1000 + int(ATTEMPT_S - LEASE_S))
        self.crew.take_on([lease])
        assert self.began.acquire(timeout=PATIENCE_S)

    def look_after(self, seconds: float) -> None:
        """Let time pass, and let the watchdog look."""
        self.now += seconds
        self.watchdog.look()
        turned = threading.Event()
        self.thread.loop.call_soon_threadsafe(turned.set)
        assert turned.wait(PATIENCE_S)

    def end_all(self, count: int) -> None:
        """Let the callables end, and wait until that many slots are free."""
        self.may_end.set()
        self.thread.loop.call_soon_threadsafe(self._wake)
        for _ in range(count):
            assert self.book.freed.acquire(timeout=PATIENCE_S)

    def _wake(self) -> None:
        for task in asyncio.all_tasks(self.thread.loop):
            task.cancel()


@pytest.fixture
def bench() -> Iterator[Bench]:
    thread = LoopThread()
    made = Bench(thread)
    yield made
    made.may_end.set()
    thread.stop(PATIENCE_S)


def test_a_callable_that_hangs_is_told_with_its_overrun_its_slot_and_its_stack(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.begin("hang", "a")
    bench.look_after(ATTEMPT_S + 4.9)
    assert caplog.messages == []
    bench.look_after(0.2)

    [record] = caplog.records
    said = record.getMessage()
    assert said.startswith(
        "hang exec_a: still running 5 s after its attempt ended (timeout), and keeps its slot: "
        "1 of 2 slots is blocked. The code that does not stop:\n"
    )
    assert "in wait_inside" in said
    assert "crew.py" not in said
    assert (record.levelno, vars(record)["execution_id"]) == (logging.WARNING, "exec_a")


def test_it_is_told_again_at_growing_intervals(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.begin("hang", "a")
    bench.now += ATTEMPT_S
    told = []
    for second in range(1, 4 * 3600):
        bench.now += 1
        caplog.clear()
        bench.watchdog.look()
        told += [second for message in caplog.messages if "still running" in message]

    assert told == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 8720, 12320]


def test_its_end_is_told_if_its_overrun_was(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.begin("hang", "a")
    bench.look_after(ATTEMPT_S + 20)
    caplog.clear()
    bench.end_all(1)
    bench.look_after(1)
    bench.look_after(1)

    assert caplog.messages == [
        "hang exec_a: ended at last, 21 s after its attempt ended: 0 of 2 slots are blocked"
    ]


def test_an_end_soon_after_the_attempts_own_is_not_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.begin("hang", "a")
    bench.look_after(ATTEMPT_S + 1)
    bench.end_all(1)
    bench.look_after(60)

    assert caplog.messages == []


def test_an_async_callable_that_swallows_its_cancel_is_told_with_where_it_awaits(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.begin("refuse", "a")
    bench.crew.lose(["a"])
    assert bench.began.acquire(timeout=PATIENCE_S)
    bench.look_after(5)

    [said] = caplog.messages
    assert said.startswith(
        "refuse exec_a: still running 5 s after its attempt ended (lost), and keeps its slot"
    )
    assert "in swallow" in said
    assert "await asyncio.sleep" in said
    assert "crew.py" not in said


def test_a_lease_that_is_lost_after_a_cancel_ends_the_attempt(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.begin("hang", "a")
    bench.crew.cancel(["a"])
    bench.look_after(30)
    assert caplog.messages == []
    bench.crew.lose(["a"])
    bench.look_after(5)

    assert "still running 5 s after its attempt ended (requested)" in caplog.messages[0]


def test_a_worker_whose_slots_are_all_blocked_says_that_it_takes_no_work(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    bench.begin("hang", "a")
    bench.look_after(ATTEMPT_S + 5)
    bench.begin("hang", "b")
    bench.look_after(ATTEMPT_S + 4)
    assert caplog.messages == []
    for _ in range(20):
        bench.look_after(1)

    said = (
        "w: 2 of 2 slots are blocked by callables that run on after their attempts ended: the "
        "worker takes no executions of hang, refuse. Restart it"
    )
    assert caplog.messages == [said] * 3


def test_a_slot_that_is_free_again_is_told(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.begin("hang", "a")
    bench.begin("hang", "b")
    bench.look_after(ATTEMPT_S + 5)
    caplog.clear()
    bench.end_all(2)
    bench.look_after(0)

    assert caplog.messages[2:] == [
        "w: 2 of 2 slots are free again: the worker takes executions of hang, refuse"
    ]
