"""Owns where a callable is: the stack of its thread, or of its coroutine while it awaits.

Frames of the worker itself are left out: they are the same for every callable.
"""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from types import FrameType

_WAITING: Final = (
    ("cr_frame", "cr_await"),
    ("gi_frame", "gi_yieldfrom"),
    ("ag_frame", "ag_await"),
)
"""The frame of a coroutine, a generator and an async generator, and what each one awaits."""


def thread_frame(ident: int | None) -> FrameType | None:
    """Return the current frame of a thread; None if there is no such thread."""
    return sys._current_frames().get(ident or 0)  # noqa: SLF001  # as faulthandler


def thread_stack(ident: int | None, above: str) -> traceback.StackSummary:
    """Return the stack of a thread, the outermost frame first.

    Args:
        ident: the thread.
        above: a file; its frames and those above them are left out.
    """
    frame = thread_frame(ident)
    return _inside(traceback.extract_stack(frame) if frame is not None else [], above)


def task_stack(task: asyncio.Task[Any], above: str) -> traceback.StackSummary:
    """Return the stack of a task that waits, the outermost frame first; `above` as elsewhere."""
    frames = [(frame, frame.f_lineno) for frame in _awaiting(task.get_coro())]
    return _inside(traceback.StackSummary.extract(iter(frames)), above)


def innermost(task: asyncio.Task[Any]) -> FrameType | None:
    """Return the frame in which a task waits; None if it has none in Python."""
    frames = list(_awaiting(task.get_coro()))
    return frames[-1] if frames else None


def _awaiting(coroutine: object) -> Iterator[FrameType]:
    """Yield the frame of a coroutine, then of what it awaits, and so on."""
    while coroutine is not None:
        kinds = [kind for kind in _WAITING if hasattr(coroutine, kind[0])]
        frame = getattr(coroutine, kinds[0][0]) if kinds else None
        if frame is None:
            return
        yield frame
        coroutine = getattr(coroutine, kinds[0][1])


def _inside(stack: list[traceback.FrameSummary], above: str) -> traceback.StackSummary:
    found = [index for index, at in enumerate(stack) if at.filename == above]
    return traceback.StackSummary.from_list(stack[found[-1] + 1 if found else 0 :])
