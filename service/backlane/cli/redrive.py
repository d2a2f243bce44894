"""Owns `backlane redrive`: runs an execution that is over once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

from backlane.cli.durations import read_duration
from backlane.cli.exits import Exit
from backlane.cli.inputs import read_input
from backlane.cli.options import AsJson, ExecutionId, Place, option, spread
from backlane.cli.trouble import say, written

if TYPE_CHECKING:
    from backlane.schema.options import RedriveOptions, Retry

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE, Exit.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveFlags:
    """The options of a redrive as they were typed; None for an option that was not given."""

    priority: Annotated[
        int | None,
        option(
            "--priority",
            "Another priority, from 0 to 255. With it or another option of the config, all of the "
            "old config is replaced.",
            default="the old one",
            metavar="NUMBER",
            min=0,
            max=255,
        ),
    ] = None
    timeout: Annotated[
        str | None,
        option(
            "--timeout",
            "Another longest time that one attempt may run, such as 90s.",
            default="the old one",
            metavar="DURATION",
        ),
    ] = None
    max_attempts: Annotated[
        int | None,
        option(
            "--max-attempts",
            "Another number of attempts that may fail or time out, including the first.",
            default="the old one",
            metavar="NUMBER",
            min=1,
        ),
    ] = None
    restart: Annotated[
        bool,
        option(
            "--restart",
            "Take all steps anew, also those that the old execution completed. Another input does "
            "that as well.",
            default="no",
        ),
    ] = False
    request_id: Annotated[
        str | None,
        option(
            "--request-id",
            "Redrives with the same id within 24 hours make one execution.",
            default="a new one",
            metavar="ID",
        ),
    ] = None

    def to_options(self) -> RedriveOptions:
        """Return the given options in the form that the client takes.

        Raises:
            typer.BadParameter: an option has a value that cannot be used.
        """
        if self.request_id == "":
            # Most likely an unset shell variable, which would silently mean something else.
            raise typer.BadParameter("it must not be empty", param_hint="--request-id")
        timeout, most = self.timeout, self.max_attempts
        given = {
            "priority": self.priority,
            "timeout": None if timeout is None else read_duration("--timeout", timeout),
            "retry": None if most is None else _retry(most),
            "restart": self.restart or None,
            "request_id": self.request_id,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        return cast("RedriveOptions", chosen)


@spread
def command(
    execution_id: ExecutionId,
    *,
    given: Annotated[
        str | None,
        option(
            "--input",
            "Another input, as `backlane enqueue` takes it.",
            default="the old one",
            metavar="INPUT",
        ),
    ] = None,
    flags: RedriveFlags,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """Run an execution that failed, timed out or was cancelled once more, and print the new id.

    The new execution has the old one's input and config unless told otherwise, and no times of the
    old one. The steps that the old one completed are not taken again. The old execution stays as it
    is. While it has an unfinished redrive, the id of that one is printed. With --json the new
    record is printed instead.
    """
    options = flags.to_options()
    sent = read_input(given)
    from backlane.cli.connection import connect

    with connect(place) as client:
        handle = client.redrive(execution_id, sent, **options)
        with written(f"{handle.execution_id} was enqueued"):
            typer.echo(handle.get().to_json() if as_json else handle.execution_id)
    if handle.existing:
        say(f"{handle.execution_id} existed already, as a redrive of {execution_id}")
    return Exit.OK


def _retry(max_attempts: int) -> Retry:
    from backlane.schema.options import Retry

    try:
        return Retry(max_attempts=max_attempts)
    except ValueError as error:
        raise typer.BadParameter(
            str(error).replace("max_attempts", "--max-attempts"), param_hint="--max-attempts"
        ) from None
