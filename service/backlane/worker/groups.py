"""Owns which exception of a group decides what becomes of an attempt.

A task group raises an `ExceptionGroup` even for a single failure. The group itself means nothing:
its members do, those of nested groups too. Refuses to know how an exception is reported.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from backlane.errors import StepError
from backlane.schema.options import FATAL_CATEGORIES
from backlane.worker.failure import Failure

if TYPE_CHECKING:
    from backlane.schema.options import Category

_UNEXPECTED: Final[dict[Category, int]] = {"tool_error": 2, "timeout": 3, "network_error": 4}
"""The ranks of exceptions that are no `Failure`, by category: bugs before what a retry may mend."""
_THROTTLED: Final = 5
_CANCELLED: Final = 6


def decisive(error: BaseException) -> BaseException:
    """Return the exception that decides: the error itself, or the most serious one of a group.

    In this order: a `StepError` or a `Failure` after which nothing is retried, another `Failure`,
    an exception of category `tool_error`, a `TimeoutError`, a `ConnectionError`, the `Throttled`
    with the longest `retry_after`, a `CancelledError`. So no attempt is free of charge unless all
    members are `Throttled`. Among equals the first one decides.
    """
    return min(members(error), key=_rank)


def members(error: BaseException) -> list[BaseException]:
    """Return the exceptions of a group and of its nested groups, in order; else the error alone."""
    found: list[BaseException] = []
    left = [error]
    while left:
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            left.extend(reversed(one.exceptions))
        else:
            found.append(one)
    return found


def category_of(error: BaseException) -> Category:
    """Return the category of an exception that is no `Failure`, by its class."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return "network_error" if isinstance(error, ConnectionError) else "tool_error"


def _rank(error: BaseException) -> tuple[int, timedelta]:
    """Return how serious an exception is; the lowest decides."""
    if isinstance(error, asyncio.CancelledError):
        return _CANCELLED, timedelta(0)
    if isinstance(error, StepError):
        return 0, timedelta(0)
    if not isinstance(error, Failure):
        return _UNEXPECTED[category_of(error)], timedelta(0)
    if error.throttled:
        return _THROTTLED, -(error.retry_after or timedelta(0))
    is_last = error.retryable is False or error.category in FATAL_CATEGORIES
    return int(not is_last), timedelta(0)
