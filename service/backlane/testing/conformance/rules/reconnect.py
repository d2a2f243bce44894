"""Owns the rules about streams that break, and what a worker carries over to the next."""

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
"""How long the leases of a broken stream wait for their worker."""
HOLD_MS: Final = 2500
RUN_S: Final = 1.5
"""How long of it has passed when its stream breaks."""
REFUSED: Final = 4
BUSY_S: Final = 0.02
"""Reconnects faster than that are no backoff."""
RETRY_AFTER_S: Final = 1.0


@rule("§6 hello, the end of a stream, §7.6", Settings(concurrency=1))
def a_report_is_kept_until_its_outcome(stage: Stage) -> None:
    """A report without an answer is held and said again on the next stream, until it has one."""
    first = stage.connect()
    echo = stage.make(ECHO, '"kept"')
    first.lease(echo)
    first.withhold()
    first.report(echo)
    first.end(broken_connection())
    second = stage.connect(within_s=GRACE_S)
    _demand_held(second, echo)
    again = second.report(echo, otherwise="a report without an outcome was not said again")
    demand(again.kind == "complete", f"a result was said again as {again.kind}")
    stage.echo(second)
    second.end(broken_connection())
    third = stage.connect(within_s=GRACE_S)
    demand(not third.hello().held, "a lease is still held though its report was answered")
    stage.echo(third)
    demand(not third.ledger.reports_of(echo.lease_token), "an answered report was said again")


@rule("§6 the end of a stream", Settings(concurrency=1, lease_ms=1500))
def what_runs_goes_on_over_a_reconnect(stage: Stage) -> None:
    """A lease outlives its stream: it is held, runs on, and is not begun anew."""
    first = stage.connect()
    hold = stage.hold(first, length_ms=HOLD_MS)
    begun_at = first.ledger.received[first.ledger.acknowledged[hold.lease_token]][0]
    # Heartbeats show that it has run for a while.
    first.wait(
        lambda ledger: ledger.received[-1][0] > begun_at + RUN_S,
        "the worker fell silent while a hold ran",
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
        f"a hold of {HOLD_MS} ms took {took_s:.1f} s over a reconnect: it was begun anew",
    )


@rule("§6 welcome", Settings(concurrency=1))
def what_is_not_welcome_is_lost(stage: Stage) -> None:
    """A held lease that the welcome leaves out is stopped, and nothing is reported of it."""
    first = stage.connect()
    hold = stage.hold(first)
    first.end(broken_connection())
    second = stage.connect(held=[], within_s=GRACE_S)
    # Its one slot is free again, so that the hold has stopped.
    stage.echo(second)
    demand(
        not second.ledger.reports_of(hold.lease_token),
        "a lease that the welcome left out was reported all the same",
    )


@rule("§6 credit", Settings(concurrency=2))
def credit_ends_with_its_stream(stage: Stage) -> None:
    """Credit is given anew on each stream, less what is still held."""
    first = stage.connect()
    stage.hold(first)
    first.end(broken_connection())
    second = stage.connect(within_s=GRACE_S)
    stage.echo(second)
    most, slots = second.ledger.most, stage.settings.concurrency
    demand(most <= slots, f"after a reconnect credit and held leases came to {most} of {slots}")


@rule("§6 the table of ends")
def a_server_that_is_away_is_waited_for(stage: Stage) -> None:
    """While streams are refused or nobody listens the worker tries again, with backoff."""
    stage.connect()
    stage.server.refuse(broken_connection())
    stage.server.stop()
    stage.server.start()
    demand(
        stage.server.wait_refused(REFUSED, 2 * stage.patience_s, stage.has_ended),
        f"the worker gave up after {len(stage.server.refused)} refused streams",
    )
    pauses_s = [later - at for at, later in itertools.pairwise(stage.server.refused[:REFUSED])]
    # Not their mean: one long pause may be the machine's.
    pace_s = statistics.median(pauses_s)
    demand(pace_s >= BUSY_S, f"the worker tried again every {pace_s * 1000:.0f} ms: no backoff")
    stage.server.refuse(None)
    stage.echo(stage.connect())


@rule("§6 the table of ends")
def a_retry_after_is_waited_for(stage: Stage) -> None:
    """A stream that ends RATE_LIMITED is opened again once RetryInfo's time is over."""
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
    """A stream that the server ends, with OK or INTERNAL, is followed by another."""
    for status in (None, refusal("INTERNAL")):
        session = stage.connect()
        stage.echo(session)
        session.end(status)
    stage.echo(stage.connect())


def _demand_held(session: Session, lease: api.Lease) -> None:
    held = session.hello().held
    demand(refs([lease])[0] in held, "the next hello does not name a lease that is still held")


RULES = (
    a_report_is_kept_until_its_outcome,
    what_runs_goes_on_over_a_reconnect,
    what_is_not_welcome_is_lost,
    credit_ends_with_its_stream,
    a_server_that_is_away_is_waited_for,
    a_retry_after_is_waited_for,
    a_stream_that_ends_well_is_opened_again,
)
