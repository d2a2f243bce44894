"""Owns `backlane list`: a tenant's executions, newest first."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from backlane.cli.exits import Exit
from backlane.cli.find_flags import FindFlags
from backlane.cli.options import AsJson, Place, option, spread
from backlane.cli.trouble import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.schema.records import BackgroundExecution

EXITS = (Exit.OK, Exit.USAGE, Exit.UNAVAILABLE)
LIMIT_DEFAULT = 50


@spread
def command(
    *,
    which: FindFlags,
    limit: Annotated[
        int,
        option(
            "--limit",
            "The most executions to show; 0 shows all.",
            default=str(LIMIT_DEFAULT),
            metavar="NUMBER",
            min=0,
        ),
    ] = LIMIT_DEFAULT,
    full: Annotated[
        bool,
        option(
            "--full",
            "Show all fields, including input, output, context and metadata.",
            default="no",
        ),
    ] = False,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """List a tenant's executions, newest first.

    A filter is text such as `status = failed AND metadata.team = ops AND queued_at >= -1h`. There
    OR binds tighter than AND.
    """
    from backlane.cli.connection import connect

    options = which.to_options()
    with connect(place) as client:
        # Asks for one more than it shows, to learn whether there are more.
        most = limit + 1 if limit else None
        found = client.list(status=which.status, limit=most, full=full, **options)
        print_list(itertools.islice(found, limit or None), full=full, as_json=as_json)
        if limit and next(found, None) is not None:
            say(f"only the newest {limit} are shown: raise --limit, or use --limit 0 to show all")
    return Exit.OK


def print_list(executions: Iterator[BackgroundExecution], *, full: bool, as_json: bool) -> None:
    """Print executions; as JSON or in full each one as it comes."""
    from backlane.cli.records import print_record, print_rows

    if as_json:
        # Not through `typer.echo`, which flushes after each line: there may be millions.
        sys.stdout.writelines(f"{execution.to_json()}\n" for execution in executions)
    elif full:
        for index, execution in enumerate(executions):
            if index:
                typer.echo()
            print_record(execution, as_json=False)
    else:
        print_rows(executions)
