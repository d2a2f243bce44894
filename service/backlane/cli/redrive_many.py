"""Owns the part of `backlane redrive` that runs many dead letters once more."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from backlane.cli.durations import read_past, show_instant
from backlane.cli.exits import Exit
from backlane.cli.options import option
from backlane.cli.trouble import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backlane.cli.options import Place
    from backlane.client import RedriveMany, RedriveOutcome
    from backlane.schema.options import RedriveOptions

LIMIT_DEFAULT: Final = 1000
SAMPLE: Final = 10
"""How many executions a dry run shows."""
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/s)?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ManyFlags:
    """The options that choose dead letters, as they were typed; None for one that was not given."""

    callable_name: Annotated[
        str | None,
        option("--callable", "The dead letters of this callable.", default="all", metavar="NAME"),
    ] = None
    status: Annotated[
        Literal["failed", "timeout"] | None,
        option(
            "--status",
            "The dead letters with this status: failed or timeout.",
            default="both",
            metavar="STATUS",
        ),
    ] = None
    since: Annotated[
        str | None,
        option(
            "--since",
            "The dead letters that ended at this instant or later, such as 2026-01-31T08:00:00Z, "
            "or a duration ago, such as 2h.",
            default="all",
            metavar="INSTANT",
        ),
    ] = None
    until: Annotated[
        str | None,
        option(
            "--until",
            "The dead letters that ended before this instant, or a duration ago.",
            default="all",
            metavar="INSTANT",
        ),
    ] = None
    every: Annotated[bool, option("--all", "All dead letters of the tenant.", default="no")] = False
    rate: Annotated[
        str | None,
        option(
            "--rate",
            "How many redrives a second at most, such as 20/s.",
            default="one after the other",
            metavar="NUMBER/s",
        ),
    ] = None
    limit: Annotated[
        int | None,
        option(
            "--limit",
            "The most dead letters to redrive, the newest first; 0 redrives all.",
            default=str(LIMIT_DEFAULT),
            metavar="NUMBER",
            min=0,
        ),
    ] = None
    name: Annotated[
        str | None,
        option(
            "--name",
            "The name of the run. Repeated with it within 24 hours, it makes nothing twice.",
            default="a new one",
            metavar="NAME",
        ),
    ] = None
    dry_run: Annotated[
        bool,
        option("--dry-run", "Redrive nothing: show how many would be, and some.", default="no"),
    ] = False

    def first_given(self) -> str | None:
        """Return the first of these options that was given, as it is typed; None if none was."""
        for field in dataclasses.fields(self):
            if getattr(self, field.name) not in (None, False):
                return _typed(field.name)
        return None

    @property
    def chooses(self) -> bool:
        """Whether an option says which dead letters are meant."""
        return self.every or any((self.callable_name, self.status, self.since, self.until))

    def to_choice(self) -> dict[str, Any]:
        """Return the options in the form that the client takes.

        Raises:
            typer.BadParameter: an option has a value that cannot be used.
        """
        if not self.chooses:
            raise typer.BadParameter(
                "name one execution, or choose dead letters with --callable, --status, --since or "
                "--until, or take --all",
                param_hint="ID",
            )
        limit = LIMIT_DEFAULT if self.limit is None else self.limit
        return {
            "callable_name": self.callable_name,
            "status": self.status,
            "since": None if self.since is None else read_past("--since", self.since),
            "until": None if self.until is None else read_past("--until", self.until),
            "limit": limit or None,
            "rate": _rate(self.rate),
            "name": self.name,
            "dry_run": self.dry_run,
        }


@dataclasses.dataclass(slots=True)
class _Counts:
    made: int = 0
    existing: int = 0
    refused: int = 0

    def summary(self) -> str:
        return f"{self.made} enqueued, {self.existing} existed already, {self.refused} refused"


def redrive_many(many: ManyFlags, options: RedriveOptions, place: Place, *, as_json: bool) -> int:
    """Run the chosen dead letters once more, and print what became of each.

    Raises:
        typer.BadParameter: an option has a value that cannot be used.
        Trouble: a call failed; the line says what to do about it.
    """
    choice = many.to_choice()
    if choice["until"] is None:
        # What fails from now on is no part of the run, also when it is repeated.
        choice["until"] = datetime.now(UTC)
    from backlane.cli.connection import connect

    with connect(place) as client:
        run = client.redrive_many(**choice, **options)
        if many.dry_run:
            return _show(run, choice["limit"], as_json=as_json)
        again = f"--name {run.name} --until {show_instant(choice['until'])}"
        say(f"this run can be repeated with {again}")
        counts = _Counts()
        try:
            status = _redrive(run, counts, place, as_json=as_json)
        finally:
            say(counts.summary())
    _say_limit(counts.made + counts.existing + counts.refused, choice["limit"])
    return status


def _redrive(run: RedriveMany, counts: _Counts, place: Place, *, as_json: bool) -> int:
    """Print the outcomes as they come, and return the exit status: that of the first refusal."""
    from backlane.cli.refusals import trouble_of

    status: int | None = None
    for outcome in run:
        counts.made += outcome.redriven_as is not None and not outcome.existing
        counts.existing += outcome.existing
        old = outcome.execution.execution_id
        if outcome.error is not None:
            counts.refused += 1
            trouble = trouble_of(outcome.error, place.target, place.flags)
            say(f"{old}: {trouble.line}")
            status = trouble.status if status is None else status
        if as_json:
            typer.echo(json.dumps(_told(outcome), separators=(",", ":")))
        elif outcome.redriven_as is not None:
            typer.echo(f"{old} {outcome.redriven_as}")
    return Exit.OK if status is None else status


def _told(outcome: RedriveOutcome) -> dict[str, object]:
    told: dict[str, object] = {"executionId": outcome.execution.execution_id}
    if outcome.error is not None:
        return told | {"reason": outcome.error.reason, "message": outcome.error.message}
    told |= {"redrivenAs": outcome.redriven_as, "existing": outcome.existing}
    if outcome.dependent_ids:
        told["dependentIds"] = list(outcome.dependent_ids)
    return told


def _show(run: Iterable[RedriveOutcome], limit: int | None, *, as_json: bool) -> int:
    """Print how many would be redriven, and the newest of them."""
    from backlane.cli.records import print_rows

    count, sample = 0, []
    for outcome in run:
        count += 1
        if as_json:
            typer.echo(outcome.execution.to_json())
        elif count <= SAMPLE:
            sample.append(outcome.execution)
    if sample:
        print_rows(iter(sample))
    more = f"; the newest {SAMPLE} are shown" if not as_json and count > SAMPLE else ""
    say(f"{count} would be redriven{more}")
    _say_limit(count, limit)
    return Exit.OK


def _say_limit(count: int, limit: int | None) -> None:
    if count == limit:
        say(f"the limit of {limit} is reached: raise --limit, or use --limit 0 for all")


def _typed(name: str) -> str:
    known = {"callable_name": "--callable", "every": "--all"}
    return known.get(name, "--" + name.replace("_", "-"))


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    found = _RATE.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise typer.BadParameter(f"{text!r} is no rate, such as 20/s or 0.5/s", param_hint="--rate")
    return float(found[1])
