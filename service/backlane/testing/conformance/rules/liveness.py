"""Owns the rule about heartbeats, which have to come however busy the callables are."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import HOLD
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.ledger import Ledger
    from backlane.testing.conformance.stage import Stage

LEASE_MS: Final = 1000
PERIODS: Final = 3
"""Lease periods that are watched."""


@rule("§6 Renewal", Settings(lease_ms=LEASE_MS))
def silence_is_shorter_than_a_lease(stage: Stage) -> None:
    """A worker without other messages sends heartbeats, several per lease period."""
    session = stage.connect()
    hold = stage.make(HOLD)
    session.lease(hold)
    session.acknowledged(hold)
    lease_s = stage.settings.lease_ms / 1000
    begun_at = session.ledger.received[-1][0]

    def is_watched(ledger: Ledger) -> bool:
        return ledger.received[-1][0] >= begun_at + PERIODS * lease_s

    session.wait(
        is_watched,
        f"the worker fell silent while it held a lease of {lease_s:g} s",
        (PERIODS + 1) * lease_s,
    )
    times = [at for at, _ in session.ledger.received if at >= begun_at]
    longest_s = max(later - earlier for earlier, later in itertools.pairwise(times))
    demand(
        longest_s < lease_s,
        f"the worker was silent for {longest_s:.2f} s while it held a lease of {lease_s:g} s",
    )


RULES = (silence_is_shorter_than_a_lease,)
