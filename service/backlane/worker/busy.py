"""Owns the warning about an execution that waits and cannot be suspended.

It keeps its slot as long as one of its branches is busy. A branch that waits for one that waits, by
means that the worker cannot see into, is busy for ever: such as an `asyncio.shield`, a queue, or a
lock that the other one holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from backlane.worker.branches import all_wait
from backlane.worker.stacks import task_stack

if TYPE_CHECKING:
    import asyncio
    import logging
    from collections.abc import Collection, Iterable

    _Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

BUSY_S: Final = 10.0
"""After how many seconds there is a warning, once for each attempt."""
_TEXT: Final = (
    "waits for %s and keeps its slot: another branch has been busy for %g s, outside of steps. If "
    "that branch waits for the one that waits, by a shield, a queue or a lock, this never ends: "
    "let it await the other directly. It is %s"
)


class Busy:
    """How long an execution waits that is not suspended. For the thread of its event loop."""

    __slots__ = ("_has_warned", "_since")

    def __init__(self) -> None:
        """Begin with one that does not wait."""
        self._since: float | None = None
        self._has_warned = False

    def over(self) -> None:
        """Note that it does not wait, or that it is known why it goes on."""
        self._since = None

    def look(
        self,
        now: float,
        log: _Log,
        branches: Iterable[asyncio.Task[Any]],
        waiting: Collection[asyncio.Task[Any]],
        names: Iterable[str],
    ) -> None:
        """Note that it waits and is busy nevertheless, and warn once if it has been so for long.

        Args:
            now: seconds of a monotonic clock.
            log: the attempt's.
            branches: the tasks of the attempt.
            waiting: those of them that wait.
            names: what is waited for, in words.
        """
        if self._since is None:
            self._since = now
        if self._has_warned or now < self._since + BUSY_S:
            return
        for task in branches:
            if not all_wait([task], waiting):
                self._has_warned = True
                log.warning(_TEXT, ", ".join(names), now - self._since, _where(task))
                return


def _where(task: asyncio.Task[Any]) -> str:
    """Return where a task is, in words."""
    frames = [frame for frame in task_stack(task, "") if "/asyncio/" not in frame.filename]
    if not frames:
        return f"the task {task.get_name()}"
    at = frames[-1]
    return f"at {at.filename}:{at.lineno} in {at.name}: {at.line}"
