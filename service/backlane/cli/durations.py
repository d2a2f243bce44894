"""Owns how durations and instants are written on a command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer


def read_duration(flag: str, text: str) -> timedelta:
    """Read a duration such as 500ms, 10s, 5m, 12h or 7d.

    Raises:
        typer.BadParameter: the text is not a duration.
    """
    # pydantic is slow to import, and most commands get no duration.
    from pydantic import TypeAdapter, ValidationError

    from backlane.config import Duration

    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(f"{text!r} {reason}", param_hint=flag) from None


def read_instant(flag: str, text: str) -> datetime:
    """Read an instant: RFC 3339 with its zone, or a duration from now.

    Raises:
        typer.BadParameter: the text is neither.
    """
    return _absolute(flag, text) or _relative(flag, text, 1, "a duration from now")


def read_past(flag: str, text: str) -> datetime:
    """Read an instant: RFC 3339 with its zone, or how long ago it was.

    Raises:
        typer.BadParameter: the text is neither.
    """
    return _absolute(flag, text) or _relative(flag, text, -1, "how long ago it was")


def _absolute(flag: str, text: str) -> datetime | None:
    """Return the instant that the text writes out; None if it writes no instant out."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.tzinfo is None:
        raise typer.BadParameter(f"{text!r} needs a time zone, such as Z", param_hint=flag)
    return instant


def _relative(flag: str, text: str, sign: int, words: str) -> datetime:
    try:
        return datetime.now(UTC) + sign * read_duration(flag, text)
    except typer.BadParameter:
        raise typer.BadParameter(
            f"{text!r} is neither an instant, such as 2026-01-31T08:00:00Z, nor {words}, such as "
            "10m",
            param_hint=flag,
        ) from None
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is too long", param_hint=flag) from None


def show_duration(length: timedelta) -> str:
    """Write a length of time for people, in its two largest units."""
    milliseconds = length // timedelta(milliseconds=1)
    if milliseconds < 1000:  # noqa: PLR2004  # a second
        return f"{milliseconds}ms"
    seconds, milliseconds = divmod(milliseconds, 1000)
    if seconds < 10:  # noqa: PLR2004  # where tenths still matter
        tenths = milliseconds // 100
        return f"{seconds}.{tenths}s" if tenths else f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    first = next(index for index, (number, _) in enumerate(parts) if number)
    return " ".join(f"{number}{unit}" for number, unit in parts[first : first + 2] if number)


def show_instant(instant: datetime) -> str:
    """Write an instant in RFC 3339, in UTC and to the millisecond."""
    text = instant.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"
