"""Owns `backlane pause`: keeps an execution from workers until it is resumed."""

from __future__ import annotations

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, spread
from backlane.cli.trouble import say

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE, Exit.REFUSED)


@spread
def command(execution_id: ExecutionId, *, place: Place, as_json: AsJson = False) -> int:
    """Pause an execution and show it.

    No worker gets it until it is resumed. A worker that runs it is asked to yield, which a callable
    with durable steps does at its next step; one without steps goes on to its end.
    """
    from backlane.cli.connection import connect
    from backlane.cli.records import print_record

    with connect(place) as client:
        execution = client.pause(execution_id)
        print_record(execution, as_json=as_json)
    say(f"to go on, run `backlane resume {execution_id}{place.flags}`")
    return Exit.OK
