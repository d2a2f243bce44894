"""Owns `backlane resume`: ends a pause, or all waits of an execution."""

from __future__ import annotations

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, spread

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE, Exit.REFUSED)


@spread
def command(execution_id: ExecutionId, *, place: Place, as_json: AsJson = False) -> int:
    """Resume an execution and show it.

    A paused one goes on at its old place in the queue. One that waits for a time or for an input
    goes on without it.
    """
    from backlane.cli.connection import connect
    from backlane.cli.records import print_record

    with connect(place) as client:
        print_record(client.resume(execution_id), as_json=as_json)
    return Exit.OK
