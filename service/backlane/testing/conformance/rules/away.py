"""Owns the rules about a server that starts late, and about a message that the server refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.door import ShutDoor
from backlane.testing.conformance.leases import ECHO, refs
from backlane.testing.conformance.refusals import refusal
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.server import HOST
from backlane.testing.conformance.stage import START_S, Settings

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage

KNOCKS: Final = 2


@rule("§6 the table of ends")
def a_server_may_come_later(stage: Stage) -> None:
    """A worker that starts before its server retries until the server is there."""
    stage.server.stop()
    with ShutDoor(HOST, stage.server.port) as door:
        stage.start()
        demand(
            door.wait_knocks(KNOCKS, START_S, stage.has_ended),
            f"the program did not try to connect {KNOCKS} times within {START_S:g} s",
        )
        stage.server.start()
    stage.echo(stage.connect())


@rule("§6 the table of ends, §7.7", Settings(concurrency=1))
def a_faulty_message_is_not_repeated(stage: Stage) -> None:
    """A message that ended a stream with INVALID_ARGUMENT is not repeated on the next one."""
    first = stage.connect()
    first.withhold()
    echo = stage.make(ECHO, '"faulty"')
    first.lease(echo)
    first.report(echo)
    first.end(refusal("INVALID_ARGUMENT"))
    second = stage.connect()
    if refs([echo])[0] in second.hello().held:
        # Held without a report, the lease would be renewed by heartbeats for ever.
        second.report(
            echo,
            otherwise="a lease is still held after its result ended a stream, and no failure came",
        )
    stage.echo(second)
    kinds = {report.kind for report in second.ledger.reports_of(echo.lease_token)}
    demand("complete" not in kinds, "a result that ended a stream was sent again on the next one")


RULES = (a_server_may_come_later, a_faulty_message_is_not_repeated)
