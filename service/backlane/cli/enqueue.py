"""Owns `backlane enqueue`: enqueues one execution and prints its id."""

from __future__ import annotations

import typer

from backlane.cli.enqueue_flags import EnqueueFlags
from backlane.cli.exits import Exit
from backlane.cli.inputs import AsText, CallableName, Input, read_input
from backlane.cli.options import AsJson, Place, spread
from backlane.cli.trouble import say, written

EXITS = (Exit.OK, Exit.USAGE, Exit.UNAVAILABLE, Exit.REFUSED)


@spread
def command(
    callable_name: CallableName,
    given: Input = None,
    *,
    as_text: AsText = False,
    flags: EnqueueFlags,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """Enqueue an execution, and print its id once the server has stored it.

    With --json its record is printed instead.
    """
    options = flags.to_options()
    sent = read_input(given, as_text=as_text)
    from backlane.cli.connection import connect

    with connect(place) as client:
        handle = client.enqueue(callable_name, sent, **options)
        with written(f"{handle.execution_id} was enqueued"):
            typer.echo(handle.get().to_json() if as_json else handle.execution_id)
    if handle.existing:
        say(f"{handle.execution_id} existed already, with the same request id or dedup key")
    return Exit.OK
