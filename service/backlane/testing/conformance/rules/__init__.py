"""The rules, in the order of proto/README.md §6: one module for each part of a stream's life."""

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
    reconnect,
    slow_drain,
    stops,
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
)
"""All of them, each with a name of its own."""

__all__ = ["RULES"]
