"""Owns the step from a coroutine to a blocking call.

Each call of a client is written once, as a coroutine. A client for threads runs the same coroutine
over a `ThreadConnection`, which blocks the thread wherever the other kind would wait for its event
loop. Such a coroutine never suspends, so a single step runs it to its end, without an event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends to its end, and return its result.

    Raises:
        RuntimeError: the coroutine waits for an event loop.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking call tried to wait for an event loop")
