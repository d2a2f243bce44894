"""Owns `backlane cancel`: ends a queued execution, or asks a worker to stop a running one."""

from __future__ import annotations

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, spread
from backlane.cli.trouble import say

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE, Exit.REFUSED)


@spread
def command(execution_id: ExecutionId, *, place: Place, as_json: AsJson = False) -> int:
    """Cancel an execution and show it.

    A queued execution ends at once. For a running one its worker is asked to stop: it has 10 s to
    do so, and may still complete the execution in that time.
    """
    from backlane.cli.connection import connect
    from backlane.cli.records import print_record

    with connect(place) as client:
        execution = client.cancel(execution_id)
        print_record(execution, as_json=as_json)
    if not execution.is_finished:
        say(f"its worker was asked to stop; see `backlane wait {execution_id}{place.flags}`")
    return Exit.OK
