"""Owns `backlane peek`: shows the executions that workers get next."""

from __future__ import annotations

from typing import Annotated

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, Place, option, spread

EXITS = (Exit.OK, Exit.USAGE, Exit.UNAVAILABLE)


@spread
def command(
    *,
    limit: Annotated[
        int,
        option(
            "--limit",
            "The most executions to show, 1 to 1000.",
            default="10",
            metavar="NUMBER",
            min=1,
            max=1000,
        ),
    ] = 10,
    callables: Annotated[
        list[str] | None,
        option(
            "--callable",
            "Only this callable, or with prefix.* all that begin with prefix.; may be repeated.",
            default="all",
            metavar="CALLABLE",
        ),
    ] = None,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """Show the executions that workers get next, in order, without taking them."""
    from backlane.cli.connection import connect
    from backlane.cli.records import print_rows

    with connect(place) as client:
        executions = client.peek(limit=limit, callables=callables or ())
    if as_json:
        for execution in executions:
            typer.echo(execution.to_json())
    else:
        print_rows(executions)
    return Exit.OK
