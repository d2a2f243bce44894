"""Owns the thread that looks after the others: a blocked event loop, attempts that are over."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Final

from backlane.worker import crew
from backlane.worker.threads import DaemonExecutor, survive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

LOOK_EVERY_S: Final = 0.25
BLOCKED_S: Final = 1.0
"""How long the loop may be busy with one thing, in seconds, before the log says so."""
_FRAMES_SHOWN: Final = 4
_CREW_FILE: Final = crew.__file__

log = logging.getLogger("backlane.worker")


class LoopThread:
    """An event loop on a thread of its own. A daemon, so that it keeps no process from ending.

    What ends other loops does not end this one, since everybody's callables run on it: neither a
    `sys.exit` in a task that a callable made, nor `loop.stop`.
    """

    def __init__(self) -> None:
        """Start it."""
        self.loop = asyncio.new_event_loop()
        # Otherwise what `asyncio.to_thread` runs would keep the process from ending.
        self.loop.set_default_executor(DaemonExecutor("backlane-to-thread"))
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="backlane-loop", daemon=True)
        self._thread.start()

    def frame(self) -> FrameType | None:
        """Return what the loop's thread is doing right now."""
        return sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001  # as faulthandler

    def stop(self, timeout_s: float) -> None:
        """End the loop, and wait that long for its thread."""
        self.loop.call_soon_threadsafe(self._end)
        self._thread.join(timeout_s)

    def _end(self) -> None:
        self._is_stopped = True
        self.loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._is_stopped:
            self._go_on()
        survive(self._unwind)
        self.loop.close()

    def _go_on(self) -> None:
        try:
            self.loop.run_forever()
            what = "loop.stop()"
        except BaseException as error:  # noqa: BLE001  # what ends a thread ends the loop as well
            what = type(error).__name__
        if not self._is_stopped:
            survive(lambda: log.error("%s in a callable's task: the event loop goes on", what))

    def _unwind(self) -> None:
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())


class Watchdog:
    """Looks every so often. What it finds out it says in the log, naming what blocks."""

    def __init__(
        self,
        thread: LoopThread,
        crews: Sequence[crew.Crew],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to look after a loop and the runs of some crews."""
        self._thread = thread
        self._crews = crews
        self._clock = clock
        self._asked_at = clock()
        self._is_answered = True
        self._has_complained = False
        self._end = threading.Event()

    def start(self) -> None:
        """Look from a thread of its own until `stop`."""
        threading.Thread(target=self._run, name="backlane-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._end.set()

    def look(self) -> None:
        """Look once."""
        for group in self._crews:
            group.stop_overdue()
        now = self._clock()
        if self._is_answered:
            if self._has_complained:
                log.warning("the event loop goes on after %.1f s", now - self._asked_at)
            self._has_complained = False
            self._asked_at, self._is_answered = now, False
            self._thread.loop.call_soon_threadsafe(self._answer)
        elif now - self._asked_at >= BLOCKED_S and not self._has_complained:
            self._has_complained = True
            self._complain(now - self._asked_at)

    def _answer(self) -> None:
        self._is_answered = True

    def _run(self) -> None:
        while not self._end.wait(LOOK_EVERY_S):
            survive(self.look)

    def _complain(self, seconds: float) -> None:
        frame = self._thread.frame()
        stack = traceback.extract_stack(frame) if frame is not None else []
        # What is above the crew is the loop's, and the same each time.
        above = [index for index, at in enumerate(stack) if at.filename == _CREW_FILE]
        inner = stack[above[-1] + 1 if above else 0 :][-_FRAMES_SHOWN:]
        where = " < ".join(f"{at.name} ({at.filename}:{at.lineno})" for at in reversed(inner))
        log.warning(
            "the event loop has been blocked for %.1f s by %s: leases are kept, but no other "
            "async callable moves. Await, or make it a plain function, which runs on a thread. "
            "It is in %s",
            *(seconds, self._suspect(), where or "code that cannot be seen"),
        )

    def _suspect(self) -> str:
        task = asyncio.current_task(self._thread.loop)
        for group in self._crews:
            for run in group.running():
                if run.task is not None and run.task is task:
                    return f"{run.context.callable_name} {run.context.execution_id}"
        return "something outside of any callable"
