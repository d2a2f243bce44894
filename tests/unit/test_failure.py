"""How exceptions of callables are reported to the server."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from backlane.channel import MESSAGE_BYTES_MAX
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.book import Book
from backlane.worker.failure import Failure, Throttled
from backlane.worker.report import TRACEBACK_CHARACTERS_MAX, report
from backlane.worker.results import MESSAGE_ITEMS_MAX

LEASE = api.Lease(
    execution=records.BackgroundExecution(execution_id="exec_a"),
    lease_token="t",  # noqa: S106  # not that kind of token
)


class UnprintableError(Exception):
    """Breaks whatever wants its text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class UnpicklableError(Exception):
    """Holds what cannot be copied or sent."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __reduce__(self) -> str:
        raise TypeError("cannot be pickled")


def raised(error: BaseException) -> BaseException:
    """The error as it is once it was raised."""
    try:
        raise error  # noqa: TRY301  # an exception that was raised knows where
    except BaseException as caught:  # noqa: BLE001  # whatever it is
        return caught


def test_an_exception_is_told_with_its_type_its_message_and_where() -> None:
    told = report(LEASE, raised(ValueError("no such user")))

    assert (told.execution_id, told.lease_token) == ("exec_a", "t")
    assert told.error.message == "ValueError: no such user"
    assert told.error.code == "ValueError"
    assert told.error.category == records.ERROR_CATEGORY_TOOL_ERROR
    details = from_value(told.error.details)
    assert isinstance(details, dict)
    assert details["type"] == "builtins.ValueError"
    assert "in raised" in str(details["traceback"])


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (TimeoutError(), records.ERROR_CATEGORY_TIMEOUT),
        (asyncio.CancelledError(), records.ERROR_CATEGORY_TOOL_ERROR),
        (ConnectionResetError(), records.ERROR_CATEGORY_NETWORK_ERROR),
        (KeyError("x"), records.ERROR_CATEGORY_TOOL_ERROR),
        (SystemExit(3), records.ERROR_CATEGORY_TOOL_ERROR),
    ],
)
def test_the_category_follows_the_kind_of_exception(
    error: BaseException, category: records.ErrorCategory.ValueType
) -> None:
    assert category == report(LEASE, error).error.category


def test_an_exception_that_cannot_be_printed_is_still_told() -> None:
    told = report(LEASE, raised(UnprintableError()))

    assert told.error.message == "UnprintableError: <its text cannot be printed>"


def test_an_exception_that_cannot_be_pickled_is_still_told() -> None:
    assert report(LEASE, raised(UnpicklableError())).error.code == "UnpicklableError"


def test_a_text_that_utf8_cannot_say_is_mended() -> None:
    assert report(LEASE, ValueError("half \ud800")).error.message == "ValueError: half ?"


def test_message_and_traceback_are_bounded() -> None:
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError("x" * 100_000)

    with pytest.raises(ValueError, match="x") as caught:
        deep(200)
    told = report(LEASE, caught.value)

    assert len(told.error.message) == 2000
    assert told.error.ByteSize() < TRACEBACK_CHARACTERS_MAX + 3000


def test_a_failure_says_what_it_was_given() -> None:
    failure = Failure(
        "slow down",
        category="llm_error",
        code="rate_limit",
        retryable=False,
        retry_after=1.5,
        details={"model": "m"},
        provider="acme",
        http_status=429,
    )

    told = report(LEASE, failure)

    expected = records.ExecutionError(
        category=records.ERROR_CATEGORY_LLM_ERROR,
        message="slow down",
        code="rate_limit",
        provider="acme",
        http_status=429,
        retry_policy=records.RetryPolicy(retryable=False),
    )
    expected.details.struct_value.update({"model": "m"})
    assert expected == told.error
    assert (told.retry_after_ms, told.throttled) == (1500, False)


def test_throttled_spends_no_attempt() -> None:
    told = report(LEASE, Throttled(retry_after=timedelta(minutes=1)))

    assert (told.retry_after_ms, told.throttled) == (60_000, True)


def test_details_that_are_not_json_are_replaced_by_what_is_wrong_with_them() -> None:
    told = report(LEASE, Failure("x", details={"a": object()}))

    assert from_value(told.error.details) == {
        "unreadable_details": ".a is a object, which is not JSON"
    }


def nested(levels: int) -> object:
    """Lists within each other."""
    inner: object = 1
    for _ in range(levels):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ("x" * (64 << 10), "the details have 65540 bytes, and the limit is 65536"),
        (nested(25), "the details have 25 levels, and the limit is 24"),
        (nested(40), "is nested deeper than 30 levels"),
    ],
)
def test_details_above_what_a_server_takes_are_left_out_and_the_rest_is_told(
    details: object, said: str
) -> None:
    failure = Failure("x", category="network_error", retryable=True, details=details)
    told = report(LEASE, failure).error

    assert (told.message, told.category) == ("x", records.ERROR_CATEGORY_NETWORK_ERROR)
    assert told.retry_policy.retryable
    assert said in str(from_value(told.details))


@pytest.mark.parametrize("details", [nested(24), "x" * (65_536 - 4), {"a": [{}, []]}])
def test_details_that_a_server_takes_are_told(details: object) -> None:
    assert details == from_value(report(LEASE, Failure("x", details=details)).error.details)


def test_the_largest_failures_of_a_worker_fit_the_transport_together() -> None:
    details = "x" * ((64 << 10) - 4)
    largest = Failure("€" * 9000, code="€" * 99, details=details, provider="€" * 99)
    book = Book(MESSAGE_ITEMS_MAX, silence_s=60.0)
    messages = book.begin_stream(api.WorkHello())
    next(messages)
    leases = [api.Lease(lease_token=f"t{number}") for number in range(MESSAGE_ITEMS_MAX)]
    book.arrive(leases, acknowledge=False)
    book.settle([report(lease, largest) for lease in leases])

    sizes = [next(messages).ByteSize() for _ in range(2)]

    assert max(sizes) < MESSAGE_BYTES_MAX


class BrokenDict(dict[str, object]):
    """Breaks whatever wants its items."""

    def items(self) -> Any:  # noqa: ANN401
        raise RuntimeError("no items")


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"\ud800": object()}, ".? is a object, which is not JSON"),
        (BrokenDict(a=1), "no items"),
    ],
)
def test_details_that_cannot_be_read_cost_nothing_else(details: object, said: str) -> None:
    told = report(LEASE, Failure("x", retryable=True, details=details)).error

    assert (told.message, told.retry_policy.retryable) == ("x", True)
    assert from_value(told.details) == {"unreadable_details": said}


def test_a_failure_is_made_of_an_exception_as_of_its_text() -> None:
    failure = Failure(ValueError("boom"), retryable=False)  # type: ignore[arg-type]

    assert (failure.message, report(LEASE, failure).error.message) == ("boom", "boom")


@pytest.mark.parametrize(
    ("extra", "kind", "said"),
    [
        ({"http_status": "503"}, TypeError, "http_status must be a whole number, not '503'"),
        ({"http_status": -1}, ValueError, "http_status must be from 100 to 599, not -1"),
        ({"http_status": 600}, ValueError, "http_status must be from 100 to 599, not 600"),
        ({"code": 7}, TypeError, "code must be of type str or None, not 7"),
        ({"provider": b"x"}, TypeError, "provider must be of type str or None, not b'x'"),
        ({"retryable": "no"}, TypeError, "retryable must be of type bool or None, not 'no'"),
        ({"retry_after": "1"}, TypeError, "retry_after must be a number of seconds or a timedelta"),
    ],
)
def test_an_extra_that_cannot_be_sent_is_refused_where_it_is_raised(
    extra: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        Failure("x", **extra)


def test_an_unknown_category_is_refused_where_it_is_raised() -> None:
    with pytest.raises(ValueError, match="category 'oops' is not one of llm_error, tool_error"):
        Failure("x", category="oops")  # type: ignore[arg-type]


@pytest.mark.parametrize("delay", [-1, 86_401, timedelta(days=2)])
def test_a_delay_beyond_a_day_is_refused_where_it_is_raised(delay: float | timedelta) -> None:
    with pytest.raises(ValueError, match="retry_after must be from 0 to 86400 seconds"):
        Throttled(retry_after=delay)
