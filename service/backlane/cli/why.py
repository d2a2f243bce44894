"""Owns `backlane why`: says why an execution waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, spread

if TYPE_CHECKING:
    from backlane.schema.explanation import StartEstimate

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE)


@spread
def command(execution_id: ExecutionId, *, place: Place, as_json: AsJson = False) -> int:
    """Say why an execution waits: one reason a line, the most decisive first.

    The reasons hold at the same time. The last line is an estimate of when an attempt starts. There
    is none without a live worker that could take the execution now, nor before an execution of
    the same callable has ended since the start of the server.
    """
    from backlane.cli.connection import connect
    from backlane.cli.trouble import printable

    with connect(place) as client:
        explanation = client.explain(execution_id)
    if as_json:
        typer.echo(explanation.to_json())
        return Exit.OK
    for line in str(explanation).splitlines():
        typer.echo(printable(line))
    start = explanation.estimated_start
    if start is not None and explanation.reasons:
        typer.echo(estimate_line(start))
    return Exit.OK


def estimate_line(start: StartEstimate) -> str:
    """Word the estimate of a start."""
    from backlane.cli.durations import show_duration

    earliest = show_duration(start.earliest)
    if start.latest is None:
        return f"it starts in {earliest} at the earliest, by estimate"
    if start.latest == start.earliest:
        return f"it starts in {earliest}, by estimate"
    return f"it starts in {earliest} to {show_duration(start.latest)}, by estimate"
