"""Owns `backlane redrive`: runs an execution that is over once more, or many dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

from backlane.cli.durations import read_duration
from backlane.cli.exits import Exit
from backlane.cli.inputs import read_input
from backlane.cli.options import AsJson, Place, option, spread
from backlane.cli.redrive_many import ManyFlags, redrive_many
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
    with_dependents: Annotated[
        bool,
        option(
            "--with-dependents",
            "Run the executions once more as well that were skipped because of this one; they wait "
            "for the new one.",
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
            "with_dependents": self.with_dependents or None,
            "request_id": self.request_id,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        return cast("RedriveOptions", chosen)


@spread
def command(
    execution_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            show_default=False,
            help="The execution's id. Without it, many dead letters are redriven.",
        ),
    ] = None,
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
    many: ManyFlags,
    place: Place,
    as_json: AsJson = False,
) -> int:
    """Run an execution that failed, timed out or was cancelled once more, and print the new id.

    The new execution has the old one's input and config unless told otherwise, and no times of the
    old one. The steps that the old one completed are not taken again. The old execution stays as it
    is. While it has an unfinished redrive, the id of that one is printed. With --json the new
    record is printed instead.

    Without an ID, the dead letters that --callable, --status, --since and --until choose are run
    once more, or --all of them, the newest first. Each is printed with its new id, or reported with
    the reason why it was refused. A run that broke off can be repeated with its --name.
    """
    options = flags.to_options()
    if execution_id is None:
        if given is not None or flags.request_id is not None:
            wrong = "--request-id" if given is None else "--input"
            raise typer.BadParameter("it needs the ID of one execution", param_hint=wrong)
        return redrive_many(many, options, place, as_json=as_json)
    if chosen := many.first_given():
        raise typer.BadParameter("it is for many executions, without an ID", param_hint=chosen)
    return _redrive_one(execution_id, given, flags, options, place, as_json=as_json)


def _redrive_one(
    execution_id: str,
    given: str | None,
    flags: RedriveFlags,
    options: RedriveOptions,
    place: Place,
    *,
    as_json: bool,
) -> int:
    sent = read_input(given)
    from backlane.cli.connection import connect

    with connect(place) as client:
        handle = client.redrive(execution_id, sent, **options)
        with written(f"{handle.execution_id} was enqueued"):
            typer.echo(handle.get().to_json() if as_json else handle.execution_id)
    if flags.with_dependents:
        say(f"{len(handle.dependent_ids)} dependents were enqueued as well")
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
