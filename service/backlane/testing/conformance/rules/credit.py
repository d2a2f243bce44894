"""Owns the rules about credit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import ECHO, FAIL, HOLD
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage

SHORT_RUNS: Final = 20


@rule("§6 credit", Settings(concurrency=3))
def credit_is_given(stage: Stage) -> None:
    """After the welcome the worker gives credit for all its slots."""
    session = stage.connect()
    holds = [stage.make(HOLD) for _ in range(stage.settings.concurrency)]
    for hold in holds:
        session.lease(hold)
    session.acknowledged(*holds)


@rule("§6 credit, §7.8", Settings(concurrency=3))
def credit_is_bounded(stage: Stage) -> None:
    """The sum of credit and running executions never exceeds the slots, whatever the load."""
    session = stage.connect()
    hold = stage.make(HOLD)
    session.lease(hold)
    for number in range(4 * stage.settings.concurrency):
        # Some end well and some do not; two are on their way at a time.
        leases = [stage.make(ECHO, str(number)), stage.make(FAIL, '"on purpose"')]
        for lease in leases:
            session.lease(lease)
        for lease in leases:
            session.report(lease)
    most, slots = session.ledger.most, stage.settings.concurrency
    demand(most <= slots, f"credit and running executions came to {most}, with {slots} slots")


@rule("§6 credit", Settings(concurrency=1))
def credit_comes_back(stage: Stage) -> None:
    """When a result or a failure frees a slot, the worker gives credit for it again."""
    session = stage.connect()
    for name, document in ((ECHO, "1"), (FAIL, '"on purpose"'), (ECHO, "2"), (HOLD, '{"ms": 1}')):
        lease = stage.make(name, document)
        session.lease(lease)
        session.report(lease)
    stage.echo(session)


@rule("§6 Prefetch", Settings(concurrency=2))
def a_prefetched_lease_begins_or_is_released(stage: Stage) -> None:
    """A worker that prefetches acknowledges such a lease when it begins, or releases it in 1 s."""
    session = stage.connect()
    # Workers prefetch when they know that their callables are short.
    for number in range(SHORT_RUNS):
        if session.ledger.prefetch:
            break
        lease = stage.make(ECHO, str(number))
        session.lease(lease)
        session.report(lease)
    else:
        return
    holds = [stage.make(HOLD) for _ in range(stage.settings.concurrency)]
    for hold in holds:
        session.lease(hold)
    session.acknowledged(*holds)
    ahead = stage.make(ECHO, "1")
    ahead.prefetched = True
    session.push(ahead)
    report = session.report(ahead, otherwise="a prefetched lease was neither begun nor released")
    demand(
        session.ledger.acknowledged[ahead.lease_token] == report.message,
        "a prefetched lease was acknowledged although all slots were busy",
    )
    demand(report.kind == "release", f"a prefetched lease got {report.kind} without a free slot")


RULES = (
    credit_is_given,
    credit_is_bounded,
    credit_comes_back,
    a_prefetched_lease_begins_or_is_released,
)
