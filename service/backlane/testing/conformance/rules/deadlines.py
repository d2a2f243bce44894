"""Owns the rules about the end of an attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import HOLD, limit_attempt
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage

ATTEMPT_S: Final = 1.0
WRONG_BY_S: Final = 360.0
"""How far the server's clock and the worker's are apart."""


@rule("§7.5", Settings(concurrency=1))
def an_attempt_stops_at_its_deadline(stage: Stage) -> None:
    """When attempt_remaining_ms have passed, the worker stops the callable without being told."""
    _stops(stage, clock_ahead_s=0.0)


@rule("§7.5", Settings(concurrency=1))
def a_clock_that_is_ahead_stops_nothing_late(stage: Stage) -> None:
    """If the server's clock is six minutes ahead, an attempt still stops when its time is over."""
    _stops(stage, clock_ahead_s=WRONG_BY_S)


@rule("§7.5")
def a_clock_that_is_behind_stops_nothing_early(stage: Stage) -> None:
    """If the server's clock is six minutes behind, an attempt still has all of its time."""
    session = stage.connect()
    hold = stage.make(HOLD, '{"ms": 300}')
    # By the worker's clock, its deadline passed a minute ago.
    limit_attempt(hold, WRONG_BY_S - 60.0, clock_ahead_s=-WRONG_BY_S)
    session.lease(hold)
    report = session.report(hold)
    demand(
        report.kind == "complete",
        f"the attempt had five minutes left, and was answered with {report.kind}",
    )


def _stops(stage: Stage, *, clock_ahead_s: float) -> None:
    session = stage.connect()
    hold = stage.make(HOLD)
    limit_attempt(hold, ATTEMPT_S, clock_ahead_s)
    session.lease(hold)
    session.wait(
        lambda ledger: ledger.credit,
        "the attempt's time was over, and its slot was not given again",
        ATTEMPT_S + stage.patience_s,
    )
    # What a server says of it then; the worker has nothing left to stop.
    session.lose(hold)
    stage.echo(session)
    kinds = [report.kind for report in session.ledger.reports_of(hold.lease_token)]
    demand("complete" not in kinds, "an attempt that was over time was completed")


RULES = (
    an_attempt_stops_at_its_deadline,
    a_clock_that_is_ahead_stops_nothing_late,
    a_clock_that_is_behind_stops_nothing_early,
)
