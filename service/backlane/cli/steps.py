"""Owns `backlane steps`: what happened inside of an execution."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, spread
from backlane.cli.trouble import say

if TYPE_CHECKING:
    from backlane.schema.runs import ExecutionRun, StepRecord

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE)


@spread
def command(execution_id: ExecutionId, *, place: Place, as_json: AsJson = False) -> int:
    """Show the steps of one execution, in the order in which they were recorded.

    With --json its whole run is printed.
    """
    from backlane.cli.connection import connect

    with connect(place) as client:
        run = client.execution_run(execution_id)
    if as_json:
        typer.echo(run.to_json())
    elif run.steps:
        _print(run)
    else:
        say(f"no steps are recorded of this execution; its run is {run.state}")
    return Exit.OK


def _print(run: ExecutionRun) -> None:
    from backlane.cli.tables import print_table

    rows = [
        (step.name, step.key or "", step.step_type, step.state.lower(), _took(step), _note(step))
        for step in run.steps
    ]
    print_table(("step", "key", "type", "state", "took", "note"), rows)


def _took(step: StepRecord) -> str:
    from backlane.cli.durations import show_duration

    return "" if step.duration is None else show_duration(step.duration)


def _note(step: StepRecord) -> str:
    """Summarize a step: its error, what it waits for, or its output."""
    from backlane.cli.durations import show_instant
    from backlane.cli.records import cut, fault_line

    if step.error is not None:
        return cut(fault_line(step.error))
    if step.state == "Running":
        waits = [f"waits for input {step.input_key}"] if step.input_key else []
        if step.wait_until is not None and step.wait_until > datetime.now(UTC):
            waits.append(f"until {show_instant(step.wait_until)}")
        return ", ".join(waits)
    return "" if step.output is None else cut(step.output)
