"""Owns the thread that watches the event loop and the slots.

It says if the loop is blocked, stops attempts that have timed out, and says which callables do not
stop.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from backlane.worker import crew
from backlane.worker.overruns import Overruns
from backlane.worker.stacks import thread_stack
from backlane.worker.threads import DaemonExecutor, survive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOOK_EVERY_S: Final = 0.25
BLOCKED_S: Final = 1.0
"""How long the event loop may be blocked, in seconds, before the log says so."""
STALLED_S: Final = 1.0
"""How late the watchdog's own thread may be, in seconds, before the log says so."""
_FRAMES_SHOWN: Final = 4
_CREW_FILE: Final = crew.__file__

log = logging.getLogger("backlane.worker")


class LoopThread:
    """An event loop on its own thread, a daemon that does not keep the process from ending.

    All async callables run on this loop. It therefore continues after a `sys.exit` in a task that
    a callable made, and after `loop.stop`.
    """

    def __init__(self) -> None:
        """Start the loop."""
        self.loop = asyncio.new_event_loop()
        # The default executor of `asyncio.to_thread` would keep the process from ending.
        self.loop.set_default_executor(DaemonExecutor("backlane-to-thread"))
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="backlane-loop", daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int:
        """The identifier of the loop's thread."""
        return self._thread.ident or 0

    def stop(self, timeout_s: float) -> None:
        """End the loop, and wait for its thread up to that many seconds."""
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
        except BaseException as error:  # noqa: BLE001  # also what would end the thread
            what = type(error).__name__
        if not self._is_stopped:
            survive(lambda: log.error("%s in a callable's task: the event loop continues", what))

    def _unwind(self) -> None:
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())


class Watchdog:
    """Checks regularly, stops attempts that have timed out, and logs what blocks loop and slots."""

    def __init__(
        self,
        thread: LoopThread,
        crews: Sequence[crew.Crew],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a watchdog for a loop and the runs of some crews; `clock` must be the crews' own."""
        self._thread = thread
        self._crews = crews
        self._clock = clock
        self._overruns = [Overruns(group, thread.loop, thread.ident) for group in crews]
        self._asked_at = clock()
        self._is_answered = True
        self._has_complained = False
        self._end = threading.Event()

    def start(self) -> None:
        """Check regularly, on a new thread, until `stop`."""
        threading.Thread(target=self._run, name="backlane-watchdog", daemon=True).start()

    def stop(self) -> None:
        """End the checks."""
        self._end.set()

    def look(self) -> None:
        """Check once."""
        for group in self._crews:
            group.stop_overdue()
        now = self._clock()
        for overruns in self._overruns:
            overruns.look(now)
        if self._is_answered:
            if self._has_complained:
                log.warning("the event loop continues after %.1f s", now - self._asked_at)
            self._has_complained = False
            self._asked_at, self._is_answered = now, False
            self._thread.loop.call_soon_threadsafe(self._answer)
        elif now - self._asked_at >= BLOCKED_S and not self._has_complained:
            self._has_complained = True
            self._complain(now - self._asked_at)

    def note_stall(self, late_s: float) -> None:
        """Log that no thread could run, if this one runs again so many seconds late."""
        if late_s >= STALLED_S:
            log.warning(
                "no thread of this process ran for %.1f s, so that no heartbeat was sent: a call "
                "into C code held Python's interpreter lock, or the machine is overloaded. "
                "Leases are lost if that takes longer than they last",
                late_s,
            )

    def _answer(self) -> None:
        self._is_answered = True

    def _run(self) -> None:
        expected = self._clock() + LOOK_EVERY_S
        while not self._end.wait(LOOK_EVERY_S):
            late_s = self._clock() - expected
            survive(functools.partial(self.note_stall, late_s))
            survive(self.look)
            expected = self._clock() + LOOK_EVERY_S

    def _complain(self, seconds: float) -> None:
        inner = thread_stack(self._thread.ident, _CREW_FILE)[-_FRAMES_SHOWN:]
        where = " < ".join(f"{at.name} ({at.filename}:{at.lineno})" for at in reversed(inner))
        log.warning(
            "the event loop has been blocked for %.1f s by %s: heartbeats go on, but no other "
            "async callable can run. Await, or make it a plain function, which runs on a thread. "
            "The blocking code: %s",
            *(seconds, self._suspect(), where or "unknown"),
        )

    def _suspect(self) -> str:
        task = asyncio.current_task(self._thread.loop)
        for group in self._crews:
            for run in group.running():
                if run.task is not None and run.task is task:
                    return f"{run.context.callable_name} {run.context.execution_id}"
        return "code outside of any callable"
