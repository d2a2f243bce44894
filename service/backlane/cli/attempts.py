"""Owns `backlane attempts`: what became of the leases of one execution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, spread
from backlane.cli.trouble import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backlane.schema.records import Attempt

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE)


@spread
def command(execution_id: ExecutionId, *, place: Place, as_json: AsJson = False) -> int:
    """Show the attempts of one execution, oldest first.

    An attempt is one lease: the worker that held it, when it began and ended, what became of it,
    and the error if there was one. The newest 100 attempts are kept.
    """
    from backlane.cli.connection import connect
    from backlane.schema import json as schema_json

    with connect(place) as client:
        attempts = client.attempts(execution_id)
    if as_json:
        for attempt in attempts:
            typer.echo(schema_json.dumps(attempt.proto))
    elif attempts:
        _print(attempts)
    else:
        say("no worker has leased this execution yet")
    return Exit.OK


def _print(attempts: Sequence[Attempt]) -> None:
    from backlane.cli.durations import show_duration, show_instant
    from backlane.cli.records import fault_line
    from backlane.cli.tables import print_table

    print_table(
        ("attempt", "outcome", "worker", "started", "took", "error"),
        [
            (
                str(attempt.ordinal),
                attempt.outcome,
                attempt.worker_id,
                show_instant(attempt.started_at),
                "" if attempt.duration is None else show_duration(attempt.duration),
                "" if attempt.error is None else fault_line(attempt.error),
            )
            for attempt in attempts
        ],
    )
