"""Owns the slots of one lane: the leases in them, those that wait for one, and the credit given.

A lane is a group of callables that share slots. A worker whose callables are short has some leases
more than slots, so that a slot that becomes free is used at once. Such a lease waits for a moment:
its attempt has not begun, and it is given back if that takes long.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AHEAD_S: Final = 0.02
"""How long a lease should wait for a slot, in seconds. The more callables a slot runs in this time,
the more leases wait."""
AHEAD_SHARE_MAX: Final = 4
"""The most leases that may wait for each slot."""
AHEAD_MAX: Final = 1000
"""The most leases that may wait for the slots of a lane."""
WAIT_MAX_S: Final = 0.75
"""How long a lease may wait, in seconds. The protocol allows a second, and a look for such leases
may come a quarter late."""
_WEIGHT: Final = 1 / 16
"""The weight of the newest callable in the mean."""


Begun = tuple[api.Lease, float]
"""A lease whose callable is to run now, and how many seconds it waited here."""


class Lane:
    """The slots of a lane. Not thread-safe, except for `learn`."""

    def __init__(
        self, number: int, slots: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make a lane without leases.

        Args:
            number: the lane's number in the hello.
            slots: the most leases that may run at once.
            clock: gives monotonic seconds.
        """
        self.slots = slots
        self._number = number
        self._clock = clock
        self._taken = 0
        # By token, since an execution may be leased again while an old attempt still runs here.
        self._waiting: dict[str, tuple[api.Lease, float]] = {}
        self._credit = 0
        self._prefetch = 0
        self._mean_s = math.inf

    def learn(self, seconds: float) -> None:
        """Note how long a callable ran."""
        mean_s = self._mean_s
        self._mean_s = seconds if mean_s == math.inf else mean_s + (seconds - mean_s) * _WEIGHT

    def begin_stream(self) -> None:
        """Note that the server has no credit on a new stream."""
        self._credit = self._prefetch = 0

    def arrive(self, leases: Sequence[api.Lease]) -> Sequence[api.Lease]:
        """Put new leases into free slots, and those left behind the ones that wait.

        Returns the leases that have a slot.
        """
        ahead = sum([lease.prefetched for lease in leases])
        self._prefetch -= ahead
        self._credit -= len(leases) - ahead
        free = self.slots - self._taken
        begun, waiting = leases[:free], leases[free:]
        self._taken += len(begun)
        if waiting:
            now = self._clock()
            self._waiting |= {lease.lease_token: (lease, now) for lease in waiting}
        return begun

    def begin(self) -> list[Begun]:
        """Move leases that wait into free slots, and return them."""
        if not self._waiting:
            return []
        begun: list[Begun] = []
        now = self._clock()
        for token in list(self._waiting)[: max(0, self.slots - self._taken)]:
            lease, arrived_at = self._waiting.pop(token)
            begun.append((lease, now - arrived_at))
        self._taken += len(begun)
        return begun

    def free(self, tokens: Sequence[str]) -> None:
        """Free the slots of leases, or their places among those that wait; once for each lease."""
        waiting = [token for token in tokens if token in self._waiting] if self._waiting else []
        for token in waiting:
            del self._waiting[token]
        self._taken -= len(tokens) - len(waiting)

    def waits(self, token: str) -> bool:
        """Return whether a lease waits for a slot."""
        return token in self._waiting

    def waiting(self) -> list[str]:
        """Return the tokens of the leases that wait for a slot."""
        return list(self._waiting)

    def overdue(self) -> list[str]:
        """Return the tokens of the leases that have waited too long, and prefetch none for now."""
        latest = self._clock() - WAIT_MAX_S
        tokens = [token for token, (_, arrived_at) in self._waiting.items() if arrived_at <= latest]
        if tokens:
            # The callables have become slow, which shows only when one of them ends.
            self._mean_s = math.inf
        return tokens

    def owed(self, most: int) -> api.WorkCredit | None:
        """Return credit for free slots and for leases that may wait, if it is time for some.

        Without credit left, one free slot is enough. Otherwise a few slots are given together,
        which saves messages. The credit allows no more than `most` leases.
        """
        slots = self.slots - self._taken - len(self._waiting) - self._credit
        ahead = self._ahead() - len(self._waiting) - self._prefetch
        few = max(1, self.slots // 4) if self._credit > 0 else 1
        if slots < few and ahead < max(1, self._ahead() // 4):
            return None
        slots = max(min(slots, most), 0)
        ahead = max(min(ahead, most - slots), 0)
        if slots + ahead == 0:
            return None
        self._credit += slots
        self._prefetch += ahead
        return api.WorkCredit(lane=self._number, executions=slots, prefetch=ahead)

    def _ahead(self) -> int:
        """Return how many leases may wait for a slot."""
        share = min(AHEAD_SHARE_MAX, AHEAD_S / max(self._mean_s, 1e-6))
        return min(int(self.slots * share), AHEAD_MAX)
