"""Owns `backlane dead-letters`: what has failed or timed out, newest first."""

from __future__ import annotations

import itertools
from typing import Annotated

from backlane.cli.exits import Exit
from backlane.cli.list import LIMIT_DEFAULT, print_list
from backlane.cli.options import AsJson, Place, option, spread
from backlane.cli.trouble import say

EXITS = (Exit.OK, Exit.USAGE, Exit.UNAVAILABLE)


@spread
def command(
    *,
    callable_name: Annotated[
        str | None,
        option("--callable", "Only executions of this callable.", default="all", metavar="NAME"),
    ] = None,
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
        option("--full", "Show all fields, including input, context and metadata.", default="no"),
    ] = False,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """List the executions that failed or timed out and were not discarded, newest first.

    `backlane redrive ID` runs one of them once more, and `backlane discard ID` takes it off the
    list.
    """
    from backlane.cli.connection import connect

    with connect(place) as client:
        # Asks for one more than it shows, to learn whether there are more.
        most = limit + 1 if limit else None
        found = client.dead_letters(callable_name=callable_name, limit=most, full=full)
        print_list(itertools.islice(found, limit or None), full=full, as_json=as_json)
        if limit and next(found, None) is not None:
            say(f"only the newest {limit} are shown: raise --limit, or use --limit 0 to show all")
    return Exit.OK
