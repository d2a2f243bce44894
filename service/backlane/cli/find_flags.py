"""Owns the options that say which executions a command is about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backlane.cli.durations import read_past
from backlane.cli.options import option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backlane.client.filters import FilterValue, FindOptions

_PAST = "an instant such as 2026-01-31T08:00:00Z, or how long ago, such as 1h"
FAILED = "status = failed OR status = timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindFlags:
    """Which executions to find, as it was typed; None for an option that was not given."""

    status: Annotated[
        Literal["queued", "running", "completed", "failed", "cancelled", "timeout"] | None,
        option(
            "--status",
            "Only this status: queued, running, completed, failed, cancelled or timeout.",
            default="all",
            metavar="STATUS",
        ),
    ] = None
    failed: Annotated[
        bool, option("--failed", "Only what has failed or timed out.", default="no")
    ] = False
    callable_name: Annotated[
        str | None,
        option("--callable", "Only this callable; mail.* means a prefix.", metavar="NAME"),
    ] = None
    since: Annotated[
        str | None,
        option("--since", f"Only what was enqueued since: {_PAST}.", metavar="INSTANT"),
    ] = None
    until: Annotated[
        str | None,
        option("--until", f"Only what was enqueued before: {_PAST}.", metavar="INSTANT"),
    ] = None
    metadata: Annotated[
        list[str] | None,
        option(
            "--metadata",
            "Only what has this value in its metadata; may be repeated. A value that is no JSON "
            "is a text.",
            metavar="KEY=VALUE",
        ),
    ] = None
    filter_text: Annotated[
        str | None,
        option("--filter", "Only what this filter keeps.", metavar="TEXT"),
    ] = None

    def to_options(self) -> FindOptions:
        """Return the options in the form that the client takes, without the status.

        Raises:
            typer.BadParameter: an option has a value that cannot be used.
        """
        if self.failed and self.status is not None:
            raise typer.BadParameter("it cannot be combined with --status", param_hint="--failed")
        parts = [self.filter_text or "", FAILED if self.failed else ""]
        since, until = self.since, self.until
        return {
            "filter": " AND ".join(filter(None, parts)),
            "callable_name": self.callable_name,
            "since": None if since is None else read_past("--since", since),
            "until": None if until is None else read_past("--until", until),
            "metadata": _metadata(self.metadata),
        }


def _metadata(given: Sequence[str] | None) -> dict[str, FilterValue]:
    values: dict[str, FilterValue] = {}
    for part in given or ():
        key, equals, text = part.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{part!r} is not KEY=VALUE", param_hint="--metadata")
        if key in values:
            raise typer.BadParameter(f"{key} is given twice", param_hint="--metadata")
        values[key] = _scalar(text)
    return values


def _scalar(text: str) -> FilterValue:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict | list):
        raise typer.BadParameter(
            f"{text} is no text, number, bool or null: use --filter", param_hint="--metadata"
        )
    return value  # type: ignore[no-any-return]  # JSON of the other kinds
