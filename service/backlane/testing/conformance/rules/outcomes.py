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
    """LEASE_LOST and EXECUTION_NOT_FOUND end a lease for the worker: it says no more of it."""
    session = stage.connect()
    for reason in ("LEASE_LOST", "EXECUTION_NOT_FOUND"):
        echo = stage.make(ECHO, "1")
        session.refuse(echo, refusal(reason))
        session.lease(echo)
        session.report(echo)
        stage.echo(session)
        again = len(session.ledger.reports_of(echo.lease_token))
        demand(again == 1, f"a report answered {reason} was said {again} times")


@rule("§5, §7.7", Settings(concurrency=1))
def a_refused_result_is_failed(stage: Stage) -> None:
    """A result that the server will not take is followed by a failure of the same lease."""
    session = stage.connect()
    for reason in ("INVALID_ARGUMENT", "TOO_LARGE"):
        echo = stage.make(ECHO, "1")
        session.refuse(echo, refusal(reason))
        session.lease(echo)
        session.report(echo)
        second = session.report(
            echo, nth=2, otherwise=f"a result answered {reason} was followed by nothing"
        )
        demand(
            second.kind == "fail",
            f"a result answered {reason} was followed by {second.kind}, and should be failed",
        )
    stage.echo(session)


@rule("§5, §8", Settings(concurrency=1))
def a_refusal_that_passes_is_said_again(stage: Stage) -> None:
    """A report refused for want of room is said again, once RetryInfo's time is over."""
    session = stage.connect()
    echo = stage.make(ECHO, "1")
    session.refuse(echo, refusal("RATE_LIMITED", RETRY_AFTER_S))
    session.lease(echo)
    first = session.report(echo)
    second = session.report(echo, nth=2, otherwise="a report answered RATE_LIMITED was given up")
    demand(second.kind == first.kind, f"what was {first.kind} was said again as {second.kind}")
    paused_s = second.at - first.at
    demand(
        paused_s >= RETRY_AFTER_S,
        f"a report was said again after {paused_s:.2f} s, before RetryInfo's {RETRY_AFTER_S:g} s",
    )


RULES = (
    a_stale_outcome_is_accepted,
    a_refused_result_is_failed,
    a_refusal_that_passes_is_said_again,
)
