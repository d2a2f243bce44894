"""Owns `backlane run`: enqueues an execution, waits for it, and prints its output."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backlane.cli.durations import read_duration
from backlane.cli.enqueue_flags import EnqueueFlags
from backlane.cli.exits import Exit
from backlane.cli.inputs import AsText, CallableName, Input, hint_of_text, read_input
from backlane.cli.options import AsJson, Place, option, spread
from backlane.cli.records import note, output_text
from backlane.cli.tables import is_terminal
from backlane.cli.trouble import Trouble, printable, say, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.client import Handle
    from backlane.schema.records import BackgroundExecution

EXITS = (
    *(Exit.OK, Exit.ENDED_OTHERWISE, Exit.USAGE, Exit.UNAVAILABLE, Exit.NOT_ENDED),
    *(Exit.REFUSED, Exit.INTERRUPTED),
)
INPUT_REFUSED = "INVALID_INPUT"
"""The code of an error of a callable that cannot take its input."""
PATIENCE_S = 2.0
"""How long an execution may stay queued before the command says so, in seconds."""


@spread
def command(
    callable_name: CallableName,
    given: Input = None,
    *,
    as_text: AsText = False,
    wait: Annotated[
        str | None,
        option(
            "--wait",
            "How long to wait for the execution to end; it continues after that.",
            default="no limit",
            metavar="DURATION",
        ),
    ] = None,
    flags: EnqueueFlags,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """Enqueue an execution, wait until it ends, and print its output.

    An output that is a string is printed as it is, any other output as JSON; --json prints the
    whole record. Messages go to stderr. If this command ends first, the execution continues.
    """
    options = flags.to_options()
    options["mode"] = "silent"
    timeout_s = None if wait is None else read_duration("--wait", wait).total_seconds()
    sent = read_input(given, as_text=as_text)
    from backlane.cli.connection import connect

    with connect(place) as client:
        handle = client.enqueue(callable_name, sent, **options)
        with _told_how_to_continue(handle.execution_id, place):
            execution = _follow(handle, timeout_s, place)
    return _show(execution, place, hint_of_text(sent), as_json=as_json)


def _follow(handle: Handle[Any], timeout_s: float | None, place: Place) -> BackgroundExecution:
    """Wait for the end, and say so if no worker takes the execution."""
    from backlane.errors import NotFinishedError

    first_s = PATIENCE_S if timeout_s is None else min(PATIENCE_S, timeout_s)
    try:
        return handle.wait(first_s)
    except NotFinishedError:
        _say_why(handle, place)
    return handle.wait(None if timeout_s is None else timeout_s - first_s)


def _say_why(handle: Handle[Any], place: Place) -> None:
    told = handle.explain()
    if told.status != "queued":
        return
    why = str(told).splitlines()[0]
    if [reason.kind for reason in told.reasons[:1]] == ["no_worker"]:
        why += f"; start one with `backlane worker MODULE:WORKER{place.flags}`"
    say(f"{handle.execution_id} is still queued: {why}")


@contextmanager
def _told_how_to_continue(execution_id: str, place: Place) -> Iterator[None]:
    """Add to whatever ends the wait that the execution continues.

    Raises:
        Trouble: the wait was interrupted, timed out, or failed.
    """
    from backlane.cli.refusals import trouble_of
    from backlane.errors import BacklaneError, NotFinishedError

    how = f"the execution continues; see `backlane wait {execution_id}{place.flags}`"
    try:
        yield
    except KeyboardInterrupt:
        raise Trouble(f"interrupted; {how}", Exit.INTERRUPTED) from None
    except NotFinishedError as late:
        raise Trouble(
            f"{execution_id} was still {late.status} when the wait timed out; {how}",
            Exit.NOT_ENDED,
        ) from None
    except BacklaneError as error:
        trouble = trouble_of(error, place.target, place.flags)
        raise Trouble(
            f"{trouble.line}; {execution_id} was enqueued; {how}", trouble.status
        ) from error


def _show(execution: BackgroundExecution, place: Place, hint: str, *, as_json: bool) -> int:
    """Print the output or the record of an execution that has ended."""
    ended = f"{execution.execution_id} ended with status {execution.status}"
    with written(f"{ended}; see `backlane get {execution.execution_id}{place.flags}`"):
        if as_json:
            typer.echo(execution.to_json())
        elif execution.is_success:
            text = output_text(execution.output)
            typer.echo(printable(text) if is_terminal() else text)
    if execution.is_success:
        return Exit.OK
    if not as_json:
        why = note(execution)
        fault = execution.error
        is_refused = fault is not None and fault.code == INPUT_REFUSED
        say(
            f"{ended}{why and f', {why}'}{hint if is_refused else ''}; see `backlane get "
            f"{execution.execution_id}{place.flags}`"
        )
    return Exit.ENDED_OTHERWISE
