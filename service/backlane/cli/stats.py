"""Owns `backlane stats`: counts the unfinished executions of a tenant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, Place, spread

if TYPE_CHECKING:
    from backlane.schema.stats import QueueStats
    from backlane.v1.execution_service_pb2 import CallableStats

EXITS = (Exit.OK, Exit.USAGE, Exit.UNAVAILABLE)

STATES = ("ready", "pending", "retrying", "running", "suspended", "held", "ending")
HEADINGS = ("callable", *STATES)


@spread
def command(*, place: Place, as_json: AsJson = False) -> int:
    """Count a tenant's unfinished executions, by callable and by state.

    Ready: waits for a worker. Pending: waits for the time before which it must not run. Retrying:
    waits for the delay after a failed attempt. Running: a worker has it. Suspended: waits for an
    input or a time, without a worker. Held: would be ready, but is paused. Ending: how it ends is
    decided, and it waits for its children.
    """
    from backlane.cli.connection import connect

    with connect(place) as client:
        stats = client.stats()
    if as_json:
        typer.echo(stats.to_json())
    else:
        _print(stats)
    return Exit.OK


def _print(stats: QueueStats) -> None:
    from backlane.cli.durations import show_duration
    from backlane.cli.tables import print_table

    counted: dict[str, QueueStats | CallableStats] = {**stats.callables, "(all)": stats}
    rows = [
        [name, *(str(getattr(one, state)) for state in STATES)] for name, one in counted.items()
    ]
    print_table(HEADINGS, rows)
    if stats.oldest_queued_at is not None:
        age = show_duration(datetime.now(UTC) - stats.oldest_queued_at)
        typer.echo(f"\nThe oldest has been queued for {age}.")
