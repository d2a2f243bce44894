"""Owns `backlane cancel`: ends a queued execution, or asks for the end of a running one."""

from __future__ import annotations

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, spread
from backlane.cli.trouble import say

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE, Exit.REFUSED)


@spread
def command(execution_id: ExecutionId, *, place: Place, as_json: AsJson = False) -> int:
    """Cancel a queued execution, or ask the worker of a running one to stop, and show it.

    A running one has 10 s to stop, or to complete all the same.
    """
    from backlane.cli.connection import connect
    from backlane.cli.records import print_record

    with connect(place) as client:
        execution = client.cancel(execution_id)
        print_record(execution, as_json=as_json)
    if not execution.is_finished:
        say(f"its worker is asked to stop; see `backlane wait {execution_id}{place.flags}`")
    return Exit.OK
