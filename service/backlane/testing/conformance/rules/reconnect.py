"""Owns the rules about streams that break, and about what a worker keeps for the next one."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import ECHO, refs
from backlane.testing.conformance.refusals import broken_connection, refusal
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.session import Session
    from backlane.testing.conformance.stage import Stage
    from backlane.v1 import worker_service_pb2 as api

GRACE_S: Final = 5.0
"""How long the leases of a broken stream wait for their worker, in seconds."""
HOLD_MS: Final = 2500
RUN_S: Final = 1.5
"""How long the hold has run when its stream breaks, in seconds."""
REFUSED: Final = 4
BUSY_S: Final = 0.02
"""The least pause between two reconnects with backoff, in seconds."""
RETRY_AFTER_S: Final = 1.0


@rule("§6 hello, the end of a stream, §7.6", Settings(concurrency=1))
def a_report_is_kept_until_its_outcome(stage: Stage) -> None:
    """A report without an answer is sent again on the next stream, and its lease stays held."""
    first = stage.connect()
    echo = stage.make(ECHO, '"kept"')
    first.lease(echo)
    first.withhold()
    first.report(echo)
    first.end(broken_connection())
    second = stage.connect(within_s=GRACE_S)
    _demand_held(second, echo)
    again = second.report(echo, otherwise="a report without an outcome was not sent again")
    demand(again.kind == "complete", f"a result was sent again as {again.kind}")
    stage.echo(second)
    second.end(broken_connection())
    third = stage.connect(within_s=GRACE_S)
    demand(not third.hello().held, "a lease is still held after its report was answered")
    stage.echo(third)
    demand(not third.ledger.reports_of(echo.lease_token), "an answered report was sent again")


@rule("§6 the end of a stream", Settings(concurrency=1, lease_ms=1500))
def what_runs_goes_on_over_a_reconnect(stage: Stage) -> None:
    """A lease survives its stream: it stays held, and its callable is not restarted."""
    first = stage.connect()
    hold = stage.hold(first, length_ms=HOLD_MS)
    begun_at = first.ledger.received[first.ledger.acknowledged[hold.lease_token]][0]
    # Heartbeats show that time has passed.
    first.wait(
        lambda ledger: ledger.received[-1][0] > begun_at + RUN_S,
        "the worker sent no heartbeat while a hold ran",
        2 * RUN_S,
    )
    first.end(broken_connection())
    second = stage.connect(within_s=GRACE_S)
    _demand_held(second, hold)
    report = second.report(hold, within_s=stage.patience_s)
    demand(report.kind == "complete", f"what ran over a reconnect ended with {report.kind}")
    took_s = report.at - begun_at
    demand(
        took_s < HOLD_MS / 1000 + RUN_S / 2,
        f"a hold of {HOLD_MS} ms took {took_s:.1f} s over a reconnect: it was restarted",
    )


@rule("§6 welcome", Settings(concurrency=1))
def what_is_not_welcome_is_lost(stage: Stage) -> None:
    """A held lease that is missing in the welcome is stopped and not reported."""
    first = stage.connect()
    hold = stage.hold(first)
    first.end(broken_connection())
    second = stage.connect(held=[], within_s=GRACE_S)
    # The echo needs the only slot, so the hold must have stopped.
    stage.echo(second)
    demand(
        not second.ledger.reports_of(hold.lease_token),
        "a lease that was missing in the welcome was reported",
    )


@rule("§6 credit", Settings(concurrency=2))
def credit_ends_with_its_stream(stage: Stage) -> None:
    """The worker gives new credit on each stream, for slots without held leases."""
    first = stage.connect()
    stage.hold(first)
    first.end(broken_connection())
    second = stage.connect(within_s=GRACE_S)
    stage.echo(second)
    most, slots = second.ledger.most, stage.settings.concurrency
    demand(most <= slots, f"after a reconnect credit and held leases were {most} for {slots} slots")


@rule("§6 the table of ends")
def a_server_that_is_away_is_waited_for(stage: Stage) -> None:
    """If streams are refused or the server is away, the worker retries with backoff."""
    stage.connect()
    stage.server.refuse(broken_connection())
    stage.server.stop()
    stage.server.start()
    demand(
        stage.server.wait_refused(REFUSED, 2 * stage.patience_s, stage.has_ended),
        f"the worker gave up after {len(stage.server.refused)} refused streams",
    )
    pauses_s = [later - at for at, later in itertools.pairwise(stage.server.refused[:REFUSED])]
    # The median, because one pause may be long for other reasons.
    pace_s = statistics.median(pauses_s)
    demand(pace_s >= BUSY_S, f"the worker tried again every {pace_s * 1000:.0f} ms: no backoff")
    stage.server.refuse(None)
    stage.echo(stage.connect())


@rule("§6 the table of ends")
def a_retry_after_is_waited_for(stage: Stage) -> None:
    """After a stream that ends with RATE_LIMITED, the worker waits for the time in RetryInfo."""
    first = stage.connect()
    stage.server.refuse(refusal("RATE_LIMITED", RETRY_AFTER_S))
    first.end(broken_connection())
    is_back = stage.server.wait_refused(2, 2 * stage.patience_s, stage.has_ended)
    demand(is_back, "the worker gave up")
    paused_s = stage.server.refused[1] - stage.server.refused[0]
    demand(
        paused_s >= RETRY_AFTER_S,
        f"the worker came back after {paused_s:.2f} s, before RetryInfo's {RETRY_AFTER_S:g} s",
    )


@rule("§6 the table of ends", Settings(concurrency=1))
def a_stream_that_ends_well_is_opened_again(stage: Stage) -> None:
    """After a stream that the server ends with OK or INTERNAL, the worker opens another one."""
    for status in (None, refusal("INTERNAL")):
        session = stage.connect()
        stage.echo(session)
        session.end(status)
    stage.echo(stage.connect())


def _demand_held(session: Session, lease: api.Lease) -> None:
    held = session.hello().held
    demand(refs([lease])[0] in held, "the next hello does not name a lease that should be held")


RULES = (
    a_report_is_kept_until_its_outcome,
    what_runs_goes_on_over_a_reconnect,
    what_is_not_welcome_is_lost,
    credit_ends_with_its_stream,
    a_server_that_is_away_is_waited_for,
    a_retry_after_is_waited_for,
    a_stream_that_ends_well_is_opened_again,
)
