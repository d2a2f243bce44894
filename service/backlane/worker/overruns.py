"""Owns what the log says of callables that run on after their attempt has ended.

A callable cannot be stopped from outside. One that does not stop keeps its slot, and a worker whose
slots are all kept so takes no work. The log says it, again and again, until the callable ends.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from backlane.worker import crew
from backlane.worker.stacks import task_stack, thread_stack

if TYPE_CHECKING:
    import traceback
    from collections.abc import Sequence

    from backlane.worker.run import Run

FIRST_S: Final = 5.0
"""How long a callable may go on after its attempt has ended, in seconds, before the log says so."""
PAUSE_MAX_S: Final = 3600.0
"""The log repeats itself after 5, 10, 20, 40, ... seconds, and at last every hour."""
NAMES_SHOWN: Final = 5
_CREW_FILE: Final = crew.__file__

log = logging.getLogger("backlane.worker")


class _Pace:
    """When to say something again: after twice the time, at last after `PAUSE_MAX_S`."""

    __slots__ = ("_next_s",)

    def __init__(self) -> None:
        self._next_s = FIRST_S

    def is_time(self, elapsed_s: float) -> bool:
        """Tell whether it is time again."""
        if elapsed_s < self._next_s:
            return False
        self._next_s = elapsed_s + min(elapsed_s, PAUSE_MAX_S)
        return True


class Overruns:
    """Watches the slots of one lane."""

    def __init__(self, group: crew.Crew, loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        """Watch the runs of a crew.

        Args:
            group: the crew of the lane.
            loop: runs its async callables.
            loop_thread: the thread of the loop.
        """
        self._crew = group
        self._loop = loop
        self._loop_thread = loop_thread
        self._told: dict[Run, _Pace] = {}
        self._is_full = False
        self._full_since = 0.0
        self._pace_full = _Pace()

    def look(self, now: float) -> None:
        """Log what is new, or what it is time to say again; `now` is on the crew's clock."""
        blocked = [run for run in self._crew.overrunning() if run.overrun_s(now) >= FIRST_S]
        for run in blocked:
            if self._told.setdefault(run, _Pace()).is_time(run.overrun_s(now)):
                self._tell(run, len(blocked), now)
        for run in self._told.keys() - set(blocked):
            del self._told[run]
            self._tell_end(run, len(blocked), now)
        self._look_at_slots(len(blocked), now)

    def _tell(self, run: Run, blocked: int, now: float) -> None:
        run.context.log.warning(
            "still running %.0f s after its attempt ended (%s), and keeps its slot: %s blocked. "
            "The code that does not stop:\n%s",
            *(run.overrun_s(now), run.context.stop_reason, self._share(blocked)),
            "".join(self._stack(run).format()).rstrip() or "  unknown",
        )

    def _tell_end(self, run: Run, blocked: int, now: float) -> None:
        run.context.log.warning(
            "ended at last, %.0f s after its attempt ended: %s blocked",
            *(run.overrun_s(now), self._share(blocked)),
        )

    def _look_at_slots(self, blocked: int, now: float) -> None:
        slots = self._crew.slots
        if blocked < slots:
            if self._is_full:
                self._is_full = False
                log.warning(
                    "%s: %d of %d slots are free again: the worker takes executions of %s",
                    *(self._crew.worker_id, slots - blocked, slots, self._names()),
                )
            return
        if not self._is_full:
            self._is_full, self._full_since, self._pace_full = True, now - FIRST_S, _Pace()
        if self._pace_full.is_time(now - self._full_since):
            log.error(
                "%s: %s blocked by callables that run on after their attempts ended: the worker "
                "takes no executions of %s. Restart it",
                *(self._crew.worker_id, self._share(blocked), self._names()),
            )

    def _share(self, blocked: int) -> str:
        return f"{blocked} of {self._crew.slots} slots {'is' if blocked == 1 else 'are'}"

    def _names(self) -> str:
        names: Sequence[str] = self._crew.callable_names
        more = len(names) - NAMES_SHOWN
        return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")

    def _stack(self, run: Run) -> traceback.StackSummary:
        if not run.is_on_loop:
            return thread_stack(run.thread_id, _CREW_FILE)
        if run.task is None or asyncio.current_task(self._loop) is run.task:
            return thread_stack(self._loop_thread, _CREW_FILE)
        return task_stack(run.task, _CREW_FILE)
