"""Owns the rules about stopping: the worker's own drain, and the server's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import ECHO
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.session import Session
    from backlane.testing.conformance.stage import Stage

SHORT_MS: Final = 1000
EXIT_S: Final = 5.0
"""How much longer than its drain time a worker may take to exit, in seconds."""


@rule("§6 drain, §7.9", Settings(concurrency=2, drain_ms=10_000))
def a_drain_finishes_what_runs(stage: Stage) -> None:
    """After SIGTERM: drain is sent, what runs is finished and reported, then half-close, exit 0."""
    session = stage.connect()
    hold = stage.drains(session, length_ms=SHORT_MS)
    _wait_for_drain(session)
    report = session.report(hold)
    demand(report.kind == "complete", f"what ran at a drain ended with {report.kind}")
    session.half_closed()
    stage.exits(EXIT_S)
    _demand_no_credit_after_drain(session)


@rule("§6 drain, §7.9", Settings(concurrency=2, drain_ms=500))
def a_drain_gives_back_what_outlasts_it(stage: Stage) -> None:
    """Executions that outlast the drain time are given back, and the worker exits."""
    session = stage.connect()
    hold = stage.drains(session)
    report = session.report(hold, within_s=stage.settings.drain_ms / 1000 + EXIT_S)
    demand(report.kind == "release", f"what outlasted a drain was reported by {report.kind}")
    session.half_closed()
    stage.exits(EXIT_S)


@rule("§6 drain, §7.9", Settings(concurrency=1, drain_ms=10_000))
def a_drain_waits_for_outcomes(stage: Stage) -> None:
    """A draining worker half-closes only after all its reports were answered."""
    session = stage.connect()
    echo = stage.make(ECHO, "1")
    session.lease(echo)
    session.withhold()
    session.report(echo)
    stage.terminate()
    _wait_for_drain(session)
    demand(
        session.passes(1.0, lambda _: session.ended is not None),
        "the worker ended its stream before its report was answered",
    )
    session.answer_withheld()
    session.half_closed()
    stage.exits(EXIT_S)


@rule("§6 drain", Settings(concurrency=2, drain_ms=3000))
def a_lease_that_crosses_a_drain_is_not_lost(stage: Stage) -> None:
    """A lease that was on its way when the worker sent drain is run or given back."""
    session = stage.connect()
    # Keeps the worker running until the late lease has arrived.
    stage.drains(session, length_ms=SHORT_MS)
    _wait_for_drain(session)
    late = stage.make(ECHO, '"late"')
    session.push(late)
    session.report(late, otherwise="a lease crossed the drain, and was not reported")
    session.half_closed()
    stage.exits(EXIT_S)


@rule("§6 drain", Settings(drain_ms=10_000))
def a_lease_that_crosses_the_half_close_is_not_lost(stage: Stage) -> None:
    """A lease that was on its way when the worker half-closed is given back, or run later."""
    session = stage.connect()
    stage.echo(session)
    session.linger()
    stage.terminate()
    session.half_closed()
    late = stage.make(ECHO, '"late"')
    session.push(late)
    session.end()
    stage.spoken_of(late)
    stage.exits(EXIT_S)


@rule("§6 drain", Settings(drain_ms=10_000))
def an_idle_worker_drains_at_once(stage: Stage) -> None:
    """A drain without running executions ends the stream and the program at once."""
    session = stage.connect()
    stage.echo(session)
    stage.terminate()
    session.half_closed(EXIT_S)
    stage.exits(EXIT_S)
    demand(session.ledger.count("drain") <= 1, "drain was sent more than once on a stream")


@rule("§6 drain, down", Settings(concurrency=2))
def a_server_that_drains_is_left_and_found_again(stage: Stage) -> None:
    """After the server's drain: no credit, what runs is finished, half-close, a new stream."""
    first = stage.connect()
    hold = stage.hold(first, length_ms=SHORT_MS)
    stage.begins(first)
    slots = stage.settings.concurrency
    # Afterwards no credit is on its way.
    first.wait(
        lambda ledger: ledger.credit + len(ledger.running) >= slots,
        f"credit for all {slots} slots did not come",
    )
    credits_before = first.ledger.count("credit")
    first.drain()
    report = first.report(hold)
    demand(report.kind == "complete", f"what ran at the server's drain ended with {report.kind}")
    first.half_closed()
    late = first.ledger.count("credit") - credits_before
    demand(not late, f"{late} credits came after the server's drain")
    stage.echo(stage.connect())


def _wait_for_drain(session: Session) -> None:
    session.wait(lambda ledger: ledger.count("drain"), "no drain was sent after SIGTERM")


def _demand_no_credit_after_drain(session: Session) -> None:
    kinds = [request.WhichOneof("message") for _, request in session.ledger.received]
    after = kinds[kinds.index("drain") :]
    demand("credit" not in after, "credit was given after the worker's own drain")


RULES = (
    a_drain_finishes_what_runs,
    a_drain_gives_back_what_outlasts_it,
    a_drain_waits_for_outcomes,
    a_lease_that_crosses_a_drain_is_not_lost,
    a_lease_that_crosses_the_half_close_is_not_lost,
    an_idle_worker_drains_at_once,
    a_server_that_drains_is_left_and_found_again,
)
