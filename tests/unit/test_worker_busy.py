"""Callables that wait and cannot be suspended: none of them hangs in silence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from backlane import errors
from backlane.v1 import worker_service_pb2 as api
from backlane.worker import busy, waits
from tests.unit.fake_host import Host
from tests.unit.test_worker_waits import waits as waits_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane import Context


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


class Heard(logging.Handler):
    """Keeps what the callables' log says, and tells when it says something."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.said = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.said.set()


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    log = logging.getLogger("backlane.callable")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


def test_a_branch_that_waits_unseen_is_told_with_the_execution_and_its_wait(
    host: Host, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy, "BUSY_S", 0.0)

    async def work(ctx: Context) -> None:
        await asyncio.shield(asyncio.ensure_future(ctx.wait_for_input(key="boss")))

    token = host.lease(work)
    assert heard.said.wait(10)
    host.lose(token)

    [line] = heard.lines
    assert line.startswith("work exec_a: waits for the input 'boss' and keeps its slot: ")
    assert "await asyncio.shield(" in line


def test_the_warning_comes_once_and_after_some_time(caplog: pytest.LogCaptureFixture) -> None:
    watch = busy.Busy()
    counts: list[int] = []

    async def look() -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        log = logging.getLogger("backlane.callable")
        for now in (100.0, 100.0 + busy.BUSY_S - 0.1, 100.0 + busy.BUSY_S, 200.0):
            watch.look(now, log, [task], (), ["the step 'sleep'"])
            counts.append(len(caplog.records))
        task.cancel()

    asyncio.run(look())
    assert counts == [0, 0, 1, 1]
    assert "waits for the step 'sleep' and keeps its slot" in caplog.messages[0]


def test_the_time_counts_from_the_last_step(caplog: pytest.LogCaptureFixture) -> None:
    watch = busy.Busy()

    async def look() -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        log = logging.getLogger("backlane.callable")
        watch.look(0.0, log, [task], (), ["a pause"])
        watch.over()
        watch.look(busy.BUSY_S, log, [task], (), ["a pause"])
        task.cancel()

    asyncio.run(look())
    assert caplog.records == []


def test_a_step_beside_a_wait_is_no_reason_for_a_warning(
    host: Host, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy, "BUSY_S", 0.0)
    has_looked = threading.Event()
    over = busy.Busy.over

    def is_over(watch: busy.Busy) -> None:
        over(watch)
        has_looked.set()

    monkeypatch.setattr(busy.Busy, "over", is_over)

    async def slow() -> None:
        assert await asyncio.to_thread(has_looked.wait, 10)

    async def work(ctx: Context) -> None:
        await asyncio.gather(ctx.step("slow", slow), ctx.wait_for_input(key="a"))

    assert waits_of(host.run(work)) == ["a"]
    assert heard.lines == []


def test_a_look_that_fails_ends_the_callable_instead_of_having_it_hang(
    host: Host, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bool:
        raise AttributeError("no such thing in this version of Python")

    monkeypatch.setattr(waits, "all_wait", broken)

    async def work(ctx: Context) -> None:
        await ctx.wait_for_input(key="a")

    failed = host.run(work)

    assert isinstance(failed, api.Failure)
    assert "its waits cannot be looked at: AttributeError: no such thing" in failed.error.message
    assert "cannot be suspended: the look at its branches failed" in heard.lines[0]


def test_a_plain_callable_waits_for_the_steps_of_its_threads(host: Host) -> None:
    is_in_step, may_end = threading.Event(), threading.Event()

    def slow() -> None:
        is_in_step.set()
        assert may_end.wait(10)

    def work(ctx: Context) -> None:
        threading.Thread(target=ctx.step, args=["slow", slow], daemon=True).start()
        assert is_in_step.wait(10)
        threading.Thread(target=may_end.set, daemon=True).start()
        ctx.sleep(60)

    assert waits_of(host.run(work)) == ["sleep"]
    assert host.completed == ["slow"]


@pytest.mark.parametrize("is_in_loop", [False, True])
def test_a_plain_callable_that_waits_for_a_step_stops_when_it_is_told(
    host: Host,
    is_in_loop: bool,  # noqa: FBT001  # a parameter of the test's table
) -> None:
    is_in_step, may_end, waits_for_step = threading.Event(), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def slow() -> None:
        is_in_step.set()
        assert may_end.wait(10)

    def step(ctx: Context) -> None:
        with contextlib.suppress(asyncio.CancelledError, errors.StepRefusedError):
            ctx.step("slow", slow)

    def work(ctx: Context) -> None:
        threads.append(threading.Thread(target=step, args=[ctx], daemon=True))
        threads[0].start()
        assert is_in_step.wait(10)
        waits_for_step.set()
        if is_in_loop:
            asyncio.run(_sleep(ctx))
        else:
            ctx.sleep(60)

    token = host.lease(work)
    assert waits_for_step.wait(10)
    host.crew.cancel([token])

    assert isinstance(host.result(), api.LeaseRef)
    may_end.set()
    threads[0].join(10)


async def _sleep(ctx: Context) -> None:
    await ctx.sleep(60)
