"""Owns the rule about the deadline of an attempt."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import HOLD
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage

ATTEMPT_S: Final = 1.0


@rule("§7.5", Settings(concurrency=1))
def an_attempt_stops_at_its_deadline(stage: Stage) -> None:
    """At attempt_deadline the worker stops the callable, without being told by the server."""
    session = stage.connect()
    hold = stage.make(HOLD)
    hold.attempt_deadline.FromMilliseconds(round((time.time() + ATTEMPT_S) * 1000))
    session.lease(hold)
    session.wait(
        lambda ledger: ledger.credit,
        "the attempt's deadline passed, and its slot was not given again",
        ATTEMPT_S + stage.patience_s,
    )
    # What a server says of it then; the worker has nothing left to stop.
    session.lose(hold)
    stage.echo(session)
    kinds = [report.kind for report in session.ledger.reports_of(hold.lease_token)]
    demand("complete" not in kinds, "an attempt that was over time was completed")


RULES = (an_attempt_stops_at_its_deadline,)
