"""Owns `backlane task`: shows one execution as a task record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.schema.task import TaskRecord

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE)


@spread
def command(execution_id: ExecutionId, *, place: Place, as_json: AsJson = False) -> int:
    """Show one execution as a task record: its state, attempts, times, output and last error."""
    from backlane.cli.connection import connect
    from backlane.cli.tables import print_fields

    with connect(place) as client:
        record = client.task_record(execution_id)
    if as_json:
        typer.echo(record.to_json())
    else:
        print_fields(list(_fields(record)))
    return Exit.OK


def _fields(record: TaskRecord) -> Iterator[tuple[str, str]]:
    from backlane.cli.durations import show_instant
    from backlane.cli.records import output_text

    yield "id", record.id
    yield "state", record.state
    yield "attempts", str(record.attempts)
    yield "created", show_instant(record.created_at)
    yield "updated", show_instant(record.updated_at)
    if record.started_at is not None:
        yield "started", show_instant(record.started_at)
    if record.finished_at is not None:
        yield "finished", show_instant(record.finished_at)
    if record.proto.HasField("output"):
        yield "output", output_text(record.output)
    if record.error is not None:
        yield "error", record.error
    for name, text in sorted(record.metadata.items()):
        yield "metadata", f"{name}={text}"
