"""Owns `backlane input`: provides an input that an execution waits for."""

from __future__ import annotations

from typing import Annotated

import typer

from backlane.cli.exits import Exit
from backlane.cli.inputs import read_input
from backlane.cli.options import AsJson, ExecutionId, Place, option, spread

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE, Exit.REFUSED)

Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY", show_default=False, help="The input's key; see `backlane steps ID`."
    ),
]
Value = Annotated[
    str,
    typer.Argument(
        metavar="VALUE",
        show_default=False,
        help="The input, sent unchanged: JSON, or a text that is not JSON. @FILE reads a file, and "
        "- reads stdin, also for a text that begins with @.",
    ),
]
AsString = Annotated[
    bool, option("--text", "Send VALUE as a string, whatever it looks like.", default="no")
]
RequestId = Annotated[
    str | None,
    option(
        "--request-id", "Makes the command safe to repeat.", default="a new one", metavar="TEXT"
    ),
]


@spread
def command(  # one for each argument
    execution_id: ExecutionId,
    key: Key,
    value: Value,
    *,
    as_text: AsString = False,
    request_id: RequestId = None,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """Provide an input that an execution waits for, and show the execution.

    An input that comes before its wait is kept for it.
    """
    sent = read_input(value, as_text=as_text)
    from backlane.cli.connection import connect
    from backlane.cli.records import print_record

    with connect(place) as client:
        execution = client.provide_input(execution_id, key, sent, request_id=request_id)
        print_record(execution, as_json=as_json)
    return Exit.OK
