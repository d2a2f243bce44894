"""Owns `backlane wait`: blocks until executions have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from backlane.cli.durations import read_duration
from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, Place, option, spread
from backlane.cli.trouble import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backlane.cli.trouble import Trouble
    from backlane.client.waits import Until, WaitResult

EXITS = (
    *(Exit.OK, Exit.ENDED_OTHERWISE, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE),
    *(Exit.NOT_ENDED, Exit.INTERRUPTED),
)


@spread
def command(
    execution_ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", show_default=False, help="The ids of the executions."),
    ],
    *,
    is_any: Annotated[
        bool, option("--any", "Wait until any one of them has ended.", default="no: all of them")
    ] = False,
    count: Annotated[
        int | None,
        option(
            "--count",
            "Wait until this many of them have ended.",
            default="all",
            metavar="NUMBER",
            min=1,
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        option(
            "--timeout",
            "How long to wait; 0s checks once.",
            default="no limit",
            metavar="DURATION",
        ),
    ] = None,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """Wait until executions have ended, and show the status of each.

    An id that cannot be waited for, such as an unknown one, counts as ended, and its exit status
    comes before all others. Of the others, 5 comes before 1.
    """
    ids = list(dict.fromkeys(execution_ids))
    until = _until(len(ids), count, is_any=is_any)
    timeout_s = None if timeout is None else read_duration("--timeout", timeout).total_seconds()
    from backlane.cli.connection import connect

    with connect(place) as client:
        result = client.wait(ids, until=until, timeout=timeout_s)
    _print(result, as_json=as_json)
    troubles = _troubles(result, ids, place)
    return troubles[0].status if troubles else _status(result)


def _until(ids: int, count: int | None, *, is_any: bool) -> Until:
    if count is None:
        return "any" if is_any else "all"
    if is_any:
        raise typer.BadParameter("it cannot be combined with --count", param_hint="--any")
    if count > ids:
        raise typer.BadParameter(
            f"{count} is more than the number of ids, {ids}", param_hint="--count"
        )
    return count


def _print(result: WaitResult, *, as_json: bool) -> None:
    from backlane.cli.records import print_rows
    from backlane.errors import BacklaneError

    known = [one for one in result.outcomes if not isinstance(one, BacklaneError)]
    if as_json:
        for execution in known:
            typer.echo(execution.to_json())
    elif known:
        print_rows(known)


def _troubles(result: WaitResult, ids: Sequence[str], place: Place) -> list[Trouble]:
    """Report the ids that cannot be waited for, and return the problems."""
    from backlane.cli.refusals import trouble_of
    from backlane.errors import BacklaneError

    troubles = []
    for execution_id, outcome in zip(ids, result.outcomes, strict=True):
        if isinstance(outcome, BacklaneError):
            trouble = trouble_of(outcome, place.target, place.flags)
            is_named = execution_id in trouble.line
            say(trouble.line if is_named else f"{execution_id}: {trouble.line}")
            troubles.append(trouble)
    return troubles


def _status(result: WaitResult) -> int:
    if not result.satisfied:
        say("the wait timed out; the executions continue")
        return Exit.NOT_ENDED
    is_success = all(execution.is_success for execution in result.finished)
    return Exit.OK if is_success else Exit.ENDED_OTHERWISE
