"""Owns the rules about credit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import ECHO, FAIL, HOLD
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage


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


RULES = (credit_is_given, credit_is_bounded, credit_comes_back)
