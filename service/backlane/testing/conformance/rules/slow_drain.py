"""Owns the rules about a drain that takes long, or during which the server is away."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.door import ShutDoor
from backlane.testing.conformance.leases import HOLD, refs
from backlane.testing.conformance.refusals import broken_connection
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.server import HOST
from backlane.testing.conformance.stage import Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.session import Session
    from backlane.testing.conformance.stage import Stage

GRACE_S: Final = 5.0
"""How long the leases of a broken stream wait for their worker."""
EXIT_S: Final = 5.0
"""What a worker may take beyond its drain's own time, in seconds."""


@rule("§6 Renewal, drain", Settings(lease_ms=1000, drain_ms=10_000))
def a_drain_keeps_its_leases(stage: Stage) -> None:
    """A draining worker sends heartbeats as long as executions run."""
    session = stage.connect()
    lease_s = stage.settings.lease_ms / 1000
    hold = stage.make(HOLD, json.dumps({"ms": 2 * stage.settings.lease_ms}))
    session.lease(hold)
    stage.begins(session)
    stage.terminate()
    _wait_for_drain(session)
    report = session.report(hold, within_s=2 * lease_s + EXIT_S)
    times = [at for at, _ in session.ledger.received if at <= report.at]
    longest_s = max(later - earlier for earlier, later in itertools.pairwise(times))
    demand(
        longest_s < lease_s,
        f"a draining worker was silent for {longest_s:.2f} s with a lease of {lease_s:g} s",
    )


@rule("§6 the end of a stream, §7.9", Settings(concurrency=2, drain_ms=10_000))
def a_drain_outlives_its_stream(stage: Stage) -> None:
    """If a stream breaks during a drain, another one follows to finish, without credit."""
    first = stage.connect()
    hold = stage.make(HOLD, json.dumps({"ms": 1000}))
    first.lease(hold)
    stage.begins(first)
    stage.terminate()
    _wait_for_drain(first)
    first.end(broken_connection())
    second = stage.connect(within_s=GRACE_S)
    demand(list(second.hello().held) == refs([hold]), "the next hello does not name what runs")
    report = second.report(hold)
    demand(report.kind == "complete", f"what ran at a drain ended with {report.kind}")
    second.half_closed()
    stage.exits(EXIT_S)
    demand(not second.ledger.count("credit"), "a draining worker gave credit on its next stream")


@rule("§7.9", Settings(drain_ms=1000))
def a_drain_needs_no_server(stage: Stage) -> None:
    """A worker without leases can be stopped while its server is away."""
    # No lease was given, so that no report can be left without its outcome.
    stage.connect().wait(lambda ledger: ledger.credit, "no credit came")
    stage.server.stop()
    with ShutDoor(HOST, stage.server.port) as door:
        is_back = door.wait_knocks(1, stage.patience_s, stage.has_ended)
        demand(is_back, "the worker did not try to come back")
        stage.terminate()
        stage.exits(stage.settings.drain_ms / 1000 + EXIT_S)


def _wait_for_drain(session: Session) -> None:
    session.wait(lambda ledger: ledger.count("drain"), "SIGTERM, and no drain went up")


RULES = (a_drain_keeps_its_leases, a_drain_outlives_its_stream, a_drain_needs_no_server)
