"""Owns the rule about messages of a newer server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import ECHO
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage

STRANGE_FIELD: Final = b"\xa2\x06\x04\x08\x01\x12\x00"
"""Field 100, four bytes of a message that nobody knows."""


@rule("§7.13, §11", Settings(concurrency=1))
def what_is_not_known_is_ignored(stage: Stage) -> None:
    """The worker ignores unknown kinds of messages, and unknown fields."""
    session = stage.connect()
    session.send(api.WorkResponse.FromString(STRANGE_FIELD))
    stage.echo(session)
    echo = stage.make(ECHO, '"known"')
    echo.MergeFromString(STRANGE_FIELD)
    echo.execution.MergeFromString(STRANGE_FIELD)
    session.lease(echo)
    report = session.report(echo)
    demand(report.kind == "complete", f"a lease with unknown fields ended with {report.kind}")


RULES = (what_is_not_known_is_ignored,)
