"""Owns what a worker says after a pause, because the server has refused it for a moment.

Nobody has to wake up for it: the thread that sends looks here before it waits for more. While there
is no stream, there is nobody to say it to. Not thread-safe: the book's lock guards it.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from backlane.errors import BacklaneError

REFUSAL_PAUSE_S: Final = 0.2
"""How long to wait after a temporary refusal, in seconds, if the server does not say how long."""


def pause_after(refusal: BacklaneError) -> float:
    """Return after how many seconds to say again what was refused for a moment."""
    return refusal.retry_after_s or REFUSAL_PAUSE_S


class Later:
    """What is due later."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin without any; the clock gives monotonic seconds."""
        self._clock = clock
        self._numbers = itertools.count()
        # The number keeps the order of what is due at the same time.
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def add(self, pause_s: float, say: Callable[[], None]) -> None:
        """Have something said after a pause, in seconds."""
        heapq.heappush(self._heap, (self._clock() + pause_s, next(self._numbers), say))

    @property
    def due_in_s(self) -> float | None:
        """In how many seconds the next is due; None if there is none."""
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else None

    def say_due(self) -> None:
        """Say what is due."""
        while self._heap and self._heap[0][0] <= self._clock():
            heapq.heappop(self._heap)[2]()
