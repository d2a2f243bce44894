"""Owns the rules about the server's answers to reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import ECHO
from backlane.testing.conformance.refusals import refusal
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage

RETRY_AFTER_S: Final = 0.3


@rule("§5, §7.6", Settings(concurrency=1))
def a_stale_outcome_is_accepted(stage: Stage) -> None:
    """After LEASE_LOST or EXECUTION_NOT_FOUND the worker does not report the lease again."""
    session = stage.connect()
    for reason in ("LEASE_LOST", "EXECUTION_NOT_FOUND"):
        echo = stage.make(ECHO, "1")
        session.refuse(echo, refusal(reason))
        session.lease(echo)
        session.report(echo)
        stage.echo(session)
        again = len(session.ledger.reports_of(echo.lease_token))
        demand(again == 1, f"a report answered with {reason} was sent {again} times")


@rule("§5, §7.7", Settings(concurrency=1))
def a_refused_result_is_failed(stage: Stage) -> None:
    """After a refused result the worker reports a failure of the same lease."""
    session = stage.connect()
    for reason in ("INVALID_ARGUMENT", "TOO_LARGE"):
        echo = stage.make(ECHO, "1")
        session.refuse(echo, refusal(reason))
        session.lease(echo)
        session.report(echo)
        second = session.report(
            echo, nth=2, otherwise=f"nothing followed a result answered with {reason}"
        )
        demand(
            second.kind == "fail",
            f"{second.kind} followed a result answered with {reason}, and should be fail",
        )
    stage.echo(session)


@rule("§5, §8", Settings(concurrency=1))
def a_refusal_that_passes_is_said_again(stage: Stage) -> None:
    """A report refused with RATE_LIMITED is sent again after the time in RetryInfo."""
    session = stage.connect()
    echo = stage.make(ECHO, "1")
    session.refuse(echo, refusal("RATE_LIMITED", RETRY_AFTER_S))
    session.lease(echo)
    first = session.report(echo)
    second = session.report(
        echo, nth=2, otherwise="a report answered with RATE_LIMITED was not sent again"
    )
    demand(
        second.kind == first.kind, f"a report of kind {first.kind} was sent again as {second.kind}"
    )
    paused_s = second.at - first.at
    demand(
        paused_s >= RETRY_AFTER_S,
        f"a report was sent again after {paused_s:.2f} s, before RetryInfo's {RETRY_AFTER_S:g} s",
    )


RULES = (
    a_stale_outcome_is_accepted,
    a_refused_result_is_failed,
    a_refusal_that_passes_is_said_again,
)
