"""The text of filters: what a client makes of keywords, with quotes where they are needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from backlane.client.filters import filter_text, quoted
from backlane.schema.records import Status

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1)))


def test_nothing_is_no_filter() -> None:
    assert filter_text({}) == ""
    assert filter_text({"filter": None, "metadata": {}, "since": None}) == ""


def test_all_that_is_given_is_joined_and_the_given_filter_comes_first() -> None:
    text = filter_text(
        {
            "filter": " priority > 5 OR attempt = 2 ",
            "callable_name": "mail.*",
            "since": NOON,
            "until": NOON + timedelta(microseconds=1500),
            "metadata": {"team": 'o"p*s\\', "n": 5, "x": 2.5, "b": True, "none": None},
        },
        Status.FAILED,
    )

    assert text == (
        'priority > 5 OR attempt = 2 AND status = failed AND callable = "mail.*"'
        " AND queued_at >= 2026-01-31T11:00:00.000Z AND queued_at < 2026-01-31T11:00:00.001Z"
        r' AND metadata."team" = "o\"p\*s\\" AND metadata."n" = 5 AND metadata."x" = 2.5'
        ' AND metadata."b" = true AND metadata."none" = null'
    )


def test_a_timedelta_is_so_long_ago() -> None:
    text = filter_text({"since": timedelta(hours=1)})

    at = datetime.fromisoformat(text.removeprefix("queued_at >= "))
    assert timedelta(0) <= datetime.now(UTC) - at - timedelta(hours=1) < timedelta(seconds=5)


def test_a_star_in_a_metadata_value_is_plain_and_ends_a_callable_as_a_prefix() -> None:
    assert quoted("*") == r'"\*"'
    assert filter_text({"callable_name": "*"}) == 'callable = "*"'


def test_what_cannot_be_part_of_a_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="since names no time zone"):
        filter_text({"since": datetime(2026, 1, 31)})  # noqa: DTZ001  # what is refused
    with pytest.raises(ValueError, match="metadata x: nan is not JSON"):
        filter_text({"metadata": {"x": float("nan")}})
    with pytest.raises(TypeError, match="metadata x must be a text, a number, a bool or None"):
        filter_text({"metadata": {"x": ["a"]}})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="status cannot be unspecified"):
        filter_text({}, Status.UNSPECIFIED)
