"""Owns `backlane delete`: removes an execution that is over."""

from __future__ import annotations

import json

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, spread

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE, Exit.REFUSED)


@spread
def command(execution_id: ExecutionId, *, place: Place, as_json: AsJson = False) -> int:
    """Delete an execution that is over: its record, its attempts and its steps.

    The server would remove it by itself at the end of its retention period.
    """
    from backlane.cli.connection import connect

    with connect(place) as client:
        client.delete(execution_id)
    told = {"deleted": True, "executionId": execution_id}
    typer.echo(json.dumps(told, separators=(",", ":")) if as_json else f"{execution_id} deleted")
    return Exit.OK
