"""Owns timeouts: which values callers may give, and how a long wait is divided."""

from __future__ import annotations

import math
import threading
import time
from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration

from backlane.errors import InvalidInputError
from backlane.schema.attempt import RUNNING

WAIT_SLICE_S: Final = 60.0
"""The longest wait that one call asks for, in seconds. A longer wait is made of several calls, so
that a server that vanished is noticed."""
ATTEMPT_SLICE_S: Final = 5.0
ATTEMPT_SLICE_LEAST_S: Final = 0.25
"""The longest and the shortest part of a wait inside an attempt, in seconds: it ends soon after the
attempt has."""
WAIT_GRACE_S: Final = 2.0
"""How long after its own end a wait still looks for a server that is away, in seconds."""


def call_timeout_s(given: float | timedelta) -> float:
    """Return how long a call may take, in seconds.

    Raises:
        InvalidInputError: it is not a number of seconds above 0, or a timedelta.
    """
    seconds = _seconds("call_timeout", given)
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise InvalidInputError(
            f"call_timeout must be above 0 and at most {threading.TIMEOUT_MAX:.0f} seconds, "
            f"not {given}"
        )
    return seconds


def duration(seconds: float) -> Duration:
    """Return a duration of that many seconds."""
    made = Duration()
    made.FromMilliseconds(round(seconds * 1000))
    return made


def _seconds(name: str, given: float | timedelta) -> float:
    if isinstance(given, timedelta):
        return given.total_seconds()
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise InvalidInputError(f"{name} must be seconds or a timedelta, not {given!r}")
    return float(given)


class Slices:
    """Divides a wait into parts that are short enough to notice a server that vanished."""

    def __init__(self, timeout: float | timedelta | None) -> None:
        """Start the time of a wait of that many seconds; None waits for ever.

        Raises:
            InvalidInputError: the timeout is neither a number of seconds nor a timedelta.
        """
        self.timeout_s = None if timeout is None else _seconds("timeout", timeout)
        if self.timeout_s is not None and math.isnan(self.timeout_s):
            raise InvalidInputError("timeout must be a number of seconds, not nan")
        is_endless = self.timeout_s is None or self.timeout_s > threading.TIMEOUT_MAX
        self._deadline = None if is_endless else time.monotonic() + (self.timeout_s or 0.0)

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def left_s(self) -> float | None:
        """How long there is still to wait, in seconds; None for ever."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def next_s(self) -> float:
        """Return how long the next part is, in seconds.

        Raises:
            asyncio.CancelledError: the caller is a callable, and its attempt has ended.
        """
        attempt, most_s = RUNNING.get(), WAIT_SLICE_S
        if attempt is not None:
            attempt.check_running()
            most_s = max(ATTEMPT_SLICE_LEAST_S, min(ATTEMPT_SLICE_S, attempt.remaining))
        left_s = self.left_s
        return most_s if left_s is None else min(most_s, left_s)

    def patience_s(self, call_timeout_s: float) -> float:
        """Return how long the call of the next part may take, a server that is away included."""
        patience_s = self.next_s() + call_timeout_s
        left_s = self.left_s
        return patience_s if left_s is None else min(patience_s, left_s + WAIT_GRACE_S)
