"""The rules, in the order of proto/README.md §6, with one module for each phase of a stream.

Those about steps and waits come last, in the order of §7.
"""

from backlane.testing.conformance.rules import (
    away,
    credit,
    crossings,
    deadlines,
    drain,
    future,
    hello,
    leases,
    liveness,
    outcomes,
    places,
    reconnect,
    slow_drain,
    steps,
    stops,
    waits,
)

RULES = (
    *hello.RULES,
    *credit.RULES,
    *leases.RULES,
    *liveness.RULES,
    *deadlines.RULES,
    *outcomes.RULES,
    *crossings.RULES,
    *stops.RULES,
    *reconnect.RULES,
    *away.RULES,
    *drain.RULES,
    *slow_drain.RULES,
    *future.RULES,
    *steps.RULES,
    *places.RULES,
    *waits.RULES,
)
"""All rules, whose names are unique."""

__all__ = ["RULES"]
