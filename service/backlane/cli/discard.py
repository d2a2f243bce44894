"""Owns `backlane discard`: takes executions out of the dead letters."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, Place, spread
from backlane.cli.trouble import say

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE, Exit.REFUSED)


@spread
def command(
    execution_ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", show_default=False, help="The ids of the executions."),
    ],
    *,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """Take executions that failed or timed out off the list of dead letters.

    Their records stay until retention removes them. Those that cannot be discarded are reported,
    each in one line, and the first of them decides the exit status. With --json each id is printed
    with whether it was discarded.
    """
    from backlane.cli.connection import connect
    from backlane.cli.refusals import trouble_of

    with connect(place) as client:
        refused = client.discard_dead_letters(execution_ids)
    if as_json:
        for execution_id in dict.fromkeys(execution_ids):
            told = {"discarded": execution_id not in refused, "executionId": execution_id}
            typer.echo(json.dumps(told, separators=(",", ":")))
    troubles = [trouble_of(error, place.target, place.flags) for error in refused.values()]
    for trouble in troubles:
        say(trouble.line)
    return troubles[0].status if troubles else Exit.OK
