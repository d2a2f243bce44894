"""The request of an enqueue: options that are refused by their name, and those left out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pydantic
import pytest

from backlane.errors import InvalidInputError
from backlane.schema.options import ABSENT, RawInput
from backlane.sdk.request import fill, merged
from backlane.v1 import execution_service_pb2 as api


def request_of(given: object = ABSENT, name: str = "work", **options: Any) -> Any:  # noqa: ANN401
    request = api.EnqueueRequest()
    fill(request, "acme", name, given, options)  # type: ignore[arg-type]
    return request


@pytest.mark.parametrize(
    ("delay", "milliseconds"),
    [(0, 0), (60, 60_000), (1.0005, 1001), (timedelta(microseconds=1), 1)],
)
def test_a_delay_is_counted_by_the_server_and_rounded_up(
    delay: float | timedelta, milliseconds: int
) -> None:
    request = request_of(delay=delay)

    assert (request.HasField("delay_ms"), request.delay_ms) == (True, milliseconds)
    assert not request.HasField("not_before")


def test_a_delay_that_is_no_length_of_time_is_refused() -> None:
    for delay in (-1, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="delay cannot be"):
            request_of(delay=delay)


@pytest.mark.parametrize("name", ["request_id", "dedup_key", "traceparent"])
def test_an_empty_text_that_the_server_would_take_for_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{name} cannot be '': it must not be empty"):
        request_of(**{name: ""})


def test_one_dependency_that_is_not_in_a_list_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^after cannot be 'exec_1': it must be a list"):
        request_of(after="exec_1")
    assert list(request_of(after=["exec_1", "exec_2"]).depends_on) == ["exec_1", "exec_2"]


def test_none_is_an_option_that_is_left_out() -> None:
    options = merged({"priority": 7}, {"dedup_key": None, "priority": None, "timeout": 5})

    assert options == {"priority": 7, "timeout": 5}


def test_a_name_that_is_not_utf8_is_blamed_on_the_name() -> None:
    with pytest.raises(InvalidInputError, match=r"^the callable's name 'a\\udcff' is not UTF-8$"):
        request_of(name="a\udcff")


def test_an_input_that_json_would_change_is_refused_by_its_path() -> None:
    with pytest.raises(InvalidInputError, match=r"^input: \.key is a SecretStr and would arrive"):
        request_of({"key": pydantic.SecretStr("s3")})


def test_an_input_has_one_text_whatever_the_order_of_its_keys() -> None:
    assert request_of({"b": 1, "a": 2}).input == request_of({"a": 2, "b": 1}).input
    assert request_of(RawInput('{"b":1,"a":2}')).input == '{"b":1,"a":2}'
