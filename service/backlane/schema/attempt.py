"""Owns what code that runs in an attempt may know of it without being passed its context.

A worker sets `RUNNING` for each callable. A client's wait looks at it, so that a callable that
waits for other executions does not outlive its own attempt, and gives its slot back.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, Protocol


class Attempt(Protocol):
    """An attempt that runs here."""

    @property
    def remaining(self) -> float:
        """Seconds until it times out; at least 0."""

    def check_running(self) -> None:
        """Return if the attempt goes on.

        Raises:
            asyncio.CancelledError: it has ended.
        """


RUNNING: Final[ContextVar[Attempt | None]] = ContextVar("backlane_attempt", default=None)
"""The attempt in which this code runs. Threads that a callable starts by itself do not have it."""
