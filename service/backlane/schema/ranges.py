"""Owns the ranges of options: which values they may have, and the message about others.

What goes to the server has the server's own range; a test compares these with the core. With them
an option is refused where it is written, and not only by the enqueue that uses it.
"""

from __future__ import annotations

import operator
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, SupportsIndex, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

FINITE: Final = sys.float_info.max

_LONGEST_S: Final = timedelta.max.total_seconds()
"""Far below what the server accepts; a longer time is no timedelta."""


@dataclass(frozen=True, slots=True)
class Range:
    """The values that an option may have.

    Attributes:
        least: the lowest value.
        most: the highest value; `FINITE` if any finite number will do.
        is_whole: whether the value has to be an integer.
        is_time: whether it is a number of seconds, or a timedelta.
    """

    least: float
    most: float = FINITE
    is_whole: bool = False
    is_time: bool = False

    def check(self, name: str, given: object) -> None:
        """Refuse a value that the option cannot have.

        Raises:
            TypeError: it has another type.
            ValueError: it is out of the range.
        """
        number = self._number(name, given)
        # With nan, each comparison is false.
        if not self.least <= number <= self.most:
            raise ValueError(f"{name} must be {self}, not {given!r}")

    def _number(self, name: str, given: object) -> float:
        if isinstance(given, bool):
            pass
        elif self.is_whole:
            if hasattr(given, "__index__"):
                return operator.index(cast("SupportsIndex", given))
        elif self.is_time and isinstance(given, timedelta):
            return given.total_seconds()
        elif isinstance(given, int | float):
            return given
        kind = "a whole number" if self.is_whole else "a number"
        wanted = "a number of seconds or a timedelta" if self.is_time else kind
        raise TypeError(f"{name} must be {wanted}, not {given!r}")

    def __str__(self) -> str:
        """Return the range in words."""
        unit = " seconds" if self.is_time else ""
        if self.most in (FINITE, _LONGEST_S):
            return f"finite and at least {self.least:g}{unit}"
        return f"from {self.least:g} to {self.most:.15g}{unit}"


RANGES: Final[Mapping[str, Range]] = {
    # Of a callable and an enqueue.
    "priority": Range(0, 255, is_whole=True),
    "timeout": Range(0.001, _LONGEST_S, is_time=True),
    # Of a rule for retries.
    "max_attempts": Range(1, 2**16 - 1, is_whole=True),
    "initial_delay": Range(0, _LONGEST_S, is_time=True),
    "max_delay": Range(0, _LONGEST_S, is_time=True),
    "backoff_multiplier": Range(0),
    # Of a failure.
    "retry_after": Range(0, 86_400, is_time=True),
    "sleep": Range(0, 36_500 * 86_400, is_time=True),
    "http_status": Range(100, 599, is_whole=True),  # as HTTP has it; the server takes any number
    # Of a worker. A hello may name 10 000 leases at most, including those with unanswered results:
    # a worker with more slots could never reconnect.
    "concurrency": Range(1, 5000, is_whole=True),
    "lease": Range(1, 3600, is_time=True),
    # A thread cannot wait longer.
    "drain_timeout": Range(0, threading.TIMEOUT_MAX, is_time=True),
}
"""The range of each option, by its name."""


def check(name: str, given: object) -> None:
    """Refuse a value that the option of that name cannot have.

    Raises:
        TypeError: it has another type.
        ValueError: it is out of the option's range.
    """
    RANGES[name].check(name, given)


def seconds(given: float | timedelta) -> float:
    """Return a time in seconds."""
    return given.total_seconds() if isinstance(given, timedelta) else given
