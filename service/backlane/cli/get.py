"""Owns `backlane get`: shows one execution."""

from __future__ import annotations

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, spread

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE)


@spread
def command(execution_id: ExecutionId, *, place: Place, as_json: AsJson = False) -> int:
    """Show all fields of one execution."""
    from backlane.cli.connection import connect
    from backlane.cli.records import print_record

    with connect(place) as client:
        print_record(client.get(execution_id), as_json=as_json)
    return Exit.OK
