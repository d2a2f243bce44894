"""Owns `backlane count`: how many of a tenant's executions there are."""

from __future__ import annotations

import json

import typer

from backlane.cli.exits import Exit
from backlane.cli.find_flags import FindFlags
from backlane.cli.options import AsJson, Place, spread

EXITS = (Exit.OK, Exit.USAGE, Exit.UNAVAILABLE)


@spread
def command(*, which: FindFlags, place: Place, as_json: AsJson = False) -> int:
    """Count a tenant's executions, finished ones too.

    A filter is text such as `status = failed AND metadata.team = ops AND queued_at >= -1h`. There
    OR binds tighter than AND.
    """
    from backlane.cli.connection import connect

    options = which.to_options()
    with connect(place) as client:
        count = client.count(status=which.status, **options)
    typer.echo(json.dumps({"count": count}) if as_json else count)
    return Exit.OK
