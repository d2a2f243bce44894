"""The log messages about a blocked event loop."""

from __future__ import annotations

import asyncio
import logging
import queue
import re
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from backlane.worker.watchdog import BLOCKED_S, LoopThread, Watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    """A loop that runs."""
    running = LoopThread()
    yield running
    running.stop(10)


class Clock:
    """Stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def settle(thread: LoopThread) -> None:
    """Wait until the loop has done what it was asked before."""
    turned = threading.Event()
    thread.loop.call_soon_threadsafe(turned.set)
    assert turned.wait(10)


def test_a_blocked_loop_is_said_once_with_what_blocks_it_and_again_when_it_goes_on(
    thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    clock, gate, is_in = Clock(), threading.Event(), threading.Event()

    def block_here() -> None:
        is_in.set()
        gate.wait(10)

    watchdog = Watchdog(thread, [], clock)
    thread.loop.call_soon_threadsafe(block_here)
    assert is_in.wait(10)
    watchdog.look()
    clock.now += BLOCKED_S
    watchdog.look()
    watchdog.look()

    assert len(caplog.messages) == 1
    assert "blocked for 1.0 s" in caplog.messages[0]
    assert "block_here" in caplog.messages[0]
    gate.set()
    settle(thread)
    watchdog.look()
    assert caplog.messages[1:] == ["the event loop continues after 1.0 s"]


def test_a_process_whose_threads_could_not_run_is_told_afterwards(
    thread: LoopThread,
) -> None:
    said: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "no thread" in record.getMessage():
                said.put(record.getMessage())

    note, log = Note(), logging.getLogger("backlane.worker")
    times = iter(range(0, 10**6, 3))
    watchdog = Watchdog(thread, [], lambda: float(next(times)))
    log.addHandler(note)
    watchdog.start()
    first = said.get(timeout=10)
    watchdog.stop()
    log.removeHandler(note)

    # Its clock goes on by 3 s with each question, and it looks every 0.25 s.
    assert first.startswith("no thread of this process ran for 2.8 s, so that no heartbeat was")


def test_a_thread_that_is_a_little_late_is_no_news(
    thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    Watchdog(thread, []).note_stall(0.99)

    assert caplog.messages == []


def test_an_exit_in_a_task_of_a_task_does_not_end_the_loop(
    thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave() -> None:
        sys.exit(3)

    async def gather() -> None:
        await asyncio.gather(leave())

    gathered = asyncio.run_coroutine_threadsafe(gather(), thread.loop)
    settle(thread)

    with pytest.raises(SystemExit):
        gathered.result(10)
    assert "SystemExit in a callable's task: the event loop continues" in caplog.messages


def test_a_stop_of_a_callable_does_not_end_the_loop(
    thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    async def stop() -> None:
        asyncio.get_running_loop().stop()

    asyncio.run_coroutine_threadsafe(stop(), thread.loop).result(10)
    settle(thread)
    settle(thread)

    assert caplog.messages == ["loop.stop() in a callable's task: the event loop continues"]


def test_a_loop_ends_whatever_its_last_tasks_do() -> None:
    thread = LoopThread()
    began = threading.Event()

    async def refuse_to_end() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            asyncio.get_running_loop().stop()

    asyncio.run_coroutine_threadsafe(refuse_to_end(), thread.loop)
    assert began.wait(10)
    thread.stop(10)

    assert thread.loop.is_closed()


def test_threads_of_the_loop_answer_fail_and_are_daemons(thread: LoopThread) -> None:
    def fail() -> None:
        raise ValueError("no")

    async def ask() -> tuple[bool, str]:
        with pytest.raises(ValueError, match="no"):
            await asyncio.to_thread(fail)
        current = await asyncio.to_thread(threading.current_thread)
        return current.daemon, current.name

    asked = asyncio.run_coroutine_threadsafe(ask(), thread.loop)

    is_daemon, name = asked.result(10)
    assert is_daemon
    # The first of them or the second: it depends on whether the first was idle again.
    assert re.fullmatch("backlane-to-thread-[12]", name)


def test_a_loop_that_answers_is_left_alone(
    thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    watchdog = Watchdog(thread, [], clock)
    for _ in range(3):
        watchdog.look()
        settle(thread)
        clock.now += 60

    assert caplog.messages == []
