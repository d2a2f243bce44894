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
    """A holder that is asked to stop does so soon, and says what became of the lease."""
    session = stage.connect()
    hold = stage.hold(session)
    session.cancel(hold)
    session.report(
        hold, within_s=GRACE_S, otherwise="a lease was cancelled, and nothing was reported of it"
    )
    stage.echo(session)


@rule("§6 cancels", Settings(concurrency=1))
def a_lease_that_comes_cancelled_is_not_kept(stage: Stage) -> None:
    """A lease with cancel_requested set is as one that was cancelled after it came."""
    session = stage.connect()
    hold = stage.make(HOLD)
    hold.execution.cancel_requested = True
    session.lease(hold)
    session.report(
        hold, within_s=GRACE_S, otherwise="a lease came cancelled, and nothing was reported of it"
    )


@rule("§6 lost, §7.5", Settings(concurrency=1))
def a_lost_lease_is_dropped(stage: Stage) -> None:
    """A lease that is lost is stopped, its slot is given again, and nothing is reported of it."""
    session = stage.connect()
    hold = stage.hold(session)
    session.lose(hold)
    # The echo gets the one slot, so that the hold has stopped; its report came after the hold's.
    stage.echo(session)
    demand(
        not session.ledger.reports_of(hold.lease_token),
        "a lease was lost, and was reported all the same",
    )


@rule("§7.4, §7.5", Settings(concurrency=2))
def a_lost_lease_does_not_stop_its_next_attempt(stage: Stage) -> None:
    """The loss of one attempt's lease leaves the next attempt of the execution alone."""
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
    report = session.report(
        second, otherwise="attempt 1 was lost, and nothing was reported of attempt 2"
    )
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
