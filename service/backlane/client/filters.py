"""Owns the text of filters that a client makes from keywords, with quotes where they are needed."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypedDict

from backlane.schema.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FilterValue = str | int | float | bool | None
"""A value that metadata can be compared with."""

_ESCAPES: Final = str.maketrans({'"': r"\"", "\\": r"\\", "*": r"\*"})


class FindOptions(TypedDict, total=False):
    """Which executions to find; all that is given must fit.

    Attributes:
        filter: a filter in AIP-160's language, such as `status = failed AND priority > 50`. There
            OR binds tighter than AND.
        callable_name: the callable; `mail.*` means all whose names begin with `mail.`.
        since: no execution that was enqueued earlier: an instant, or so long ago.
        until: only executions that were enqueued earlier: an instant, or so long ago.
        metadata: values that the metadata must have.
    """

    filter: str | None
    callable_name: str | None
    since: datetime | timedelta | None
    until: datetime | timedelta | None
    metadata: Mapping[str, FilterValue] | None


def filter_text(options: FindOptions, status: Status | str | None = None) -> str:
    """Return the filter that the options stand for; empty if they keep everything.

    Raises:
        ValueError: an option cannot be part of a filter.
        TypeError: an option has a wrong type.
    """
    return " AND ".join(_conditions(options, status))


def _conditions(options: FindOptions, status: Status | str | None) -> Iterator[str]:
    # The given filter is first, so that the places in the server's messages are places in it. It
    # needs no parentheses, because AND binds least.
    if given := (options.get("filter") or "").strip():
        yield given
    if status is not None:
        yield f"status = {_status(status).value}"
    if name := options.get("callable_name"):
        yield f"callable = {_pattern(name)}"
    if (since := options.get("since")) is not None:
        yield f"queued_at >= {_instant('since', since)}"
    if (until := options.get("until")) is not None:
        yield f"queued_at < {_instant('until', until)}"
    for key, value in (options.get("metadata") or {}).items():
        yield f"metadata.{quoted(key)} = {_scalar(key, value)}"


def quoted(text: str) -> str:
    """Return a text as a filter has it: in quotes, and taken literally."""
    return f'"{text.translate(_ESCAPES)}"'


def _status(status: Status | str) -> Status:
    if Status(status) is Status.UNSPECIFIED:
        raise ValueError("status cannot be unspecified: leave it out for every status")
    return Status(status)


def _pattern(name: str) -> str:
    # No name of a callable has a star, so one at the end can only stand for the rest.
    return f'{quoted(name[:-1])[:-1]}*"' if name.endswith("*") else quoted(name)


def _instant(option: str, given: datetime | timedelta) -> str:
    at = datetime.now(UTC) - given if isinstance(given, timedelta) else given
    if at.tzinfo is None:
        raise ValueError(f"{option} names no time zone; use datetime.now(UTC) and the like")
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _scalar(key: str, value: FilterValue) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"metadata {key}: {value!r} is not JSON")
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    raise TypeError(f"metadata {key} must be a text, a number, a bool or None, not {value!r}")
