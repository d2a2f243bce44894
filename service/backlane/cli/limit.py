"""Owns `backlane limit`: sets or lifts a limit on running executions."""

from __future__ import annotations

from typing import Annotated

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, Place, option, spread

EXITS = (Exit.OK, Exit.USAGE, Exit.UNAVAILABLE, Exit.REFUSED)


@spread
def command(
    callable_name: Annotated[
        str | None,
        typer.Argument(
            metavar="[CALLABLE]",
            show_default=False,
            help="The callable to limit. Without it the tenant as a whole is limited.",
        ),
    ] = None,
    *,
    most: Annotated[
        int | None,
        option(
            "--max",
            "How many executions may run at once; 0 lets none begin.",
            metavar="NUMBER",
            min=0,
            max=(1 << 32) - 1,
        ),
    ] = None,
    lift: Annotated[bool, option("--lift", "Lift the limit.", default="no")] = False,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """Limit how many executions of a tenant, or of one of its callables, run at once.

    What runs already goes on. What the limit holds back keeps its place, and holds up nobody else.
    """
    from backlane.cli.connection import connect

    if (most is None) is not lift:
        raise typer.BadParameter("give either --max NUMBER or --lift", param_hint="--max")
    with connect(place) as client:
        limits = client.set_limits(callable_name, max_running=most)
    if as_json:
        typer.echo(limits.to_json())
    else:
        named = f"callable {limits.callable_name}" if limits.callable_name else "the tenant"
        told = "no limit" if limits.max_running is None else f"at most {limits.max_running}"
        typer.echo(f"{named}: {told}, {limits.running} run and {limits.ready} are ready")
    return Exit.OK
