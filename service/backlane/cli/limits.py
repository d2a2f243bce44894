"""Owns `backlane limits`: lists the limits of a tenant on running executions."""

from __future__ import annotations

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, Place, spread

EXITS = (Exit.OK, Exit.USAGE, Exit.UNAVAILABLE)
HEADINGS = ("callable", "at most", "running", "ready")


@spread
def command(*, place: Place, as_json: AsJson = False) -> int:
    """List a tenant's limits on how many executions run at once, and how far they are used.

    `backlane limit` sets and lifts them.
    """
    from backlane.cli.connection import connect
    from backlane.cli.tables import print_table

    with connect(place) as client:
        limits = client.limits()
    if as_json:
        for one in limits:
            typer.echo(one.to_json())
        return Exit.OK
    rows = [
        [one.callable_name or "(all)", *map(str, (one.max_running, one.running, one.ready))]
        for one in limits
    ]
    print_table(HEADINGS, rows)
    return Exit.OK
