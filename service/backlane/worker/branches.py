"""Owns the question whether a task does nothing but wait for tasks that wait themselves.

An execution may be suspended only when all of its branches wait. A task that awaits other tasks, in
a `gather`, in a task group, in `asyncio.wait` or directly, waits if all of those do. A task that
awaits anything else, such as a socket or a lock, is busy.
"""

from __future__ import annotations

import asyncio
from asyncio import taskgroups, tasks
from typing import TYPE_CHECKING, Any, Final

from backlane.worker.stacks import innermost

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import CodeType, FrameType

_Future = asyncio.Future[Any]
_Task = asyncio.Task[Any]

_GATHERING: Final[Any] = getattr(tasks, "_GatheringFuture", None)
_IN_GROUP: Final = {
    function.__code__
    for name in ("__aexit__", "_aexit")
    if (function := getattr(taskgroups.TaskGroup, name, None)) is not None
}
"""The code in which a task group waits for its tasks."""
_WAITS: Final[dict[CodeType, str]] = {
    getattr(tasks, function).__code__: local
    for function, local in (("_wait", "fs"), ("wait_for", "fut"))
}
"""Code that waits for futures, and which of its local variables has them."""


def all_wait(roots: Iterable[_Task], waiting: Collection[_Task]) -> bool:
    """Tell whether tasks have ended or wait, directly or for tasks that wait.

    Args:
        roots: the tasks.
        waiting: the tasks that wait directly.
    """
    seen: set[_Future] = set()
    return all(_waits(task, waiting, seen) for task in roots)


def _waits(future: _Future, waiting: Collection[_Task], seen: set[_Future]) -> bool:
    if future.done() or future in waiting or future in seen:
        return True
    seen.add(future)
    awaited = _awaited(future)
    return awaited is not None and all(_waits(one, waiting, seen) for one in awaited)


def _awaited(future: _Future) -> Iterable[_Future] | None:
    """Return the futures that a future depends on; None if it depends on anything else."""
    if _GATHERING is not None and isinstance(future, _GATHERING):
        children: Iterable[_Future] = future._children  # noqa: SLF001  # nothing else tells
        return children
    if not isinstance(future, asyncio.Task):
        return None
    awaited: _Future | None = getattr(future, "_fut_waiter", None)
    if awaited is None or awaited.done():
        return None  # it is about to run
    if isinstance(awaited, asyncio.Task) or _awaited(awaited) is not None:
        return [awaited]
    frame = innermost(future)
    return None if frame is None else _awaited_in(frame)


def _awaited_in(frame: FrameType) -> Iterable[_Future] | None:
    """Return the futures for which the code of a frame waits, if it is of the standard library."""
    if frame.f_code in _IN_GROUP:
        group: Any = frame.f_locals["self"]
        return set(group._tasks)  # noqa: SLF001  # nothing else tells
    if frame.f_code in _WAITS:
        found: Any = frame.f_locals[_WAITS[frame.f_code]]
        return [found] if isinstance(found, asyncio.Future) else set(found)
    return None
