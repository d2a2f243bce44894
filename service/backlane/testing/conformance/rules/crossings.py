"""Owns the rules about messages that cross on their way, or come late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import ECHO
from backlane.testing.conformance.refusals import refusal
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage

SLOTS: Final = 4


@rule("§6 complete, fail, release", Settings(concurrency=SLOTS))
def outcomes_answer_in_order(stage: Stage) -> None:
    """Outcomes come in the order of the reports, and the worker applies each to its own lease."""
    session = stage.connect()
    session.withhold()
    leases = [stage.make(ECHO, str(number)) for number in range(SLOTS)]
    for lease in leases:
        # One by one, so that there are several messages to answer.
        session.lease(lease)
        session.report(lease)
    refused = leases[1]
    session.refuse(refused, refusal("TOO_LARGE"))
    session.answer_withheld()
    session.report(refused, nth=2, otherwise="the second of four results was refused, not failed")
    stage.echo(session)
    for lease in leases:
        count = len(session.ledger.reports_of(lease.lease_token))
        expected = 2 if lease is refused else 1
        demand(
            count == expected,
            f"the second of four results was refused, and that of input {lease.execution.input} "
            f"was reported {count} times",
        )


@rule("§6 lost", Settings(concurrency=2))
def a_loss_may_cross_a_report(stage: Stage) -> None:
    """A lease may be lost while its report is on its way. The outcome of the report still comes."""
    session = stage.connect()
    session.withhold()
    lease = stage.make(ECHO, '"crossed"')
    session.lease(lease)
    session.report(lease)
    session.lose(lease)
    # LEASE_LOST, in the place of this report among the outcomes.
    session.answer_withheld()
    stage.echo(session)
    count = len(session.ledger.reports_of(lease.lease_token))
    demand(count == 1, f"a lease that was lost after its report was reported {count} times")


@rule("§6 cancels, lost", Settings(concurrency=1))
def late_words_are_ignored(stage: Stage) -> None:
    """Cancels and losses of leases that have ended, or that never existed, have no effect."""
    session = stage.connect()
    over, stranger = stage.make(ECHO, '"over"'), stage.make(ECHO)
    session.lease(over)
    session.report(over)
    stage.echo(session)
    session.cancel(over, stranger)
    session.lose(over, stranger)
    stage.echo(session)
    for lease, about in ((over, "over"), (stranger, "never given")):
        count = len(session.ledger.reports_of(lease.lease_token))
        expected = 1 if lease is over else 0
        demand(count == expected, f"a lease that was {about} was cancelled, and then reported")


RULES = (outcomes_answer_in_order, a_loss_may_cross_a_report, late_words_are_ignored)
