"""The rules, in the order of proto/README.md §6: one module for each part of a stream's life."""

from backlane.testing.conformance.rules import (
    credit,
    drain,
    future,
    hello,
    leases,
    liveness,
    outcomes,
    reconnect,
    stops,
)

RULES = (
    *hello.RULES,
    *credit.RULES,
    *leases.RULES,
    *liveness.RULES,
    *outcomes.RULES,
    *stops.RULES,
    *reconnect.RULES,
    *drain.RULES,
    *future.RULES,
)
"""All of them, each with a name of its own."""

__all__ = ["RULES"]
