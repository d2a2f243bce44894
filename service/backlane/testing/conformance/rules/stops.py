"""Owns the rules about leases that end early: cancelled by a client, or lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import HOLD
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage

GRACE_S: Final = 10.0
SHORT_MS: Final = 500


@rule("§6 cancels, §7.5", Settings(concurrency=1))
def a_cancelled_lease_is_reported_within_the_grace(stage: Stage) -> None:
    """A cancelled execution is stopped within the grace period, and its lease is reported."""
    session = stage.connect()
    hold = stage.hold(session)
    session.cancel(hold)
    session.report(hold, within_s=GRACE_S, otherwise="a lease was cancelled and not reported")
    stage.echo(session)


@rule("§6 cancels", Settings(concurrency=1))
def a_lease_that_comes_cancelled_is_not_kept(stage: Stage) -> None:
    """A lease that arrives with cancel_requested is treated like one that is cancelled later."""
    session = stage.connect()
    hold = stage.make(HOLD)
    hold.execution.cancel_requested = True
    session.lease(hold)
    session.report(
        hold, within_s=GRACE_S, otherwise="a lease arrived cancelled and was not reported"
    )


@rule("§6 lost, §7.5", Settings(concurrency=1))
def a_lost_lease_is_dropped(stage: Stage) -> None:
    """A lost lease is stopped, its slot becomes free, and the lease is not reported."""
    session = stage.connect()
    hold = stage.hold(session)
    session.lose(hold)
    # The echo needs the only slot, so the hold must have stopped and could have been reported.
    stage.echo(session)
    demand(
        not session.ledger.reports_of(hold.lease_token),
        "a lost lease was reported",
    )


@rule("§7.4, §7.5", Settings(concurrency=2))
def a_lost_lease_does_not_stop_its_next_attempt(stage: Stage) -> None:
    """The loss of one attempt's lease does not stop the next attempt of the execution."""
    session = stage.connect()
    first = stage.hold(session)
    second = stage.make(
        HOLD,
        json.dumps({"ms": SHORT_MS}),
        execution_id=first.execution.execution_id,
        attempt=2,
    )
    session.lease(second)
    session.acknowledged(second)
    session.lose(first)
    report = session.report(second, otherwise="attempt 1 was lost, and attempt 2 was not reported")
    demand(
        report.kind == "complete",
        f"the loss of attempt 1 ended attempt 2 by {report.kind}, which has a lease of its own",
    )


RULES = (
    a_cancelled_lease_is_reported_within_the_grace,
    a_lease_that_comes_cancelled_is_not_kept,
    a_lost_lease_is_dropped,
    a_lost_lease_does_not_stop_its_next_attempt,
)
