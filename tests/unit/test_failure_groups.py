"""What exceptions inside groups, and causes of exceptions, mean for an attempt."""

from __future__ import annotations

import asyncio

import pytest

from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.failure import Failure, Throttled
from backlane.worker.report import report

LEASE = api.Lease()
GONE = Failure("gone", category="network_error", code="gone", retryable=False, details={"a": 1})
INVALID = Failure("invalid", category="validation_error")
SLOW = Failure("slow", category="llm_error", retry_after=2)
SOON = Throttled("soon", retry_after=1)
LATER = Throttled("later", retry_after=60)
BUG = ValueError("bug")
AWAY = ConnectionResetError("away")
LATE = TimeoutError("late")
STOPPED = asyncio.CancelledError()


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("together", errors)


@pytest.mark.parametrize("error", [GONE, SLOW, SOON])
def test_a_failure_in_a_group_is_told_as_it_is_alone(error: Failure) -> None:
    assert report(LEASE, group(error)) == report(LEASE, error)
    assert report(LEASE, group(group(group(error)))) == report(LEASE, error)


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (AWAY, records.ERROR_CATEGORY_NETWORK_ERROR),
        (LATE, records.ERROR_CATEGORY_TIMEOUT),
        (BUG, records.ERROR_CATEGORY_TOOL_ERROR),
    ],
)
def test_an_exception_in_a_group_keeps_its_category_its_code_and_its_message(
    error: Exception, category: records.ErrorCategory.ValueType
) -> None:
    told, alone = (report(LEASE, given).error for given in (group(error), error))

    assert (told.category, told.code, told.message) == (category, alone.code, alone.message)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ((LATER, AWAY, LATE, BUG, SLOW, GONE), "gone"),
        ((GONE, INVALID), "gone"),
        ((LATER, AWAY, LATE, BUG, SLOW), ""),
        ((LATER, AWAY, LATE, BUG), "ValueError"),
        ((LATER, AWAY, LATE), "TimeoutError"),
        ((LATER, AWAY), "ConnectionResetError"),
        ((STOPPED, AWAY), "ConnectionResetError"),
        ((LATER, group(BUG, AWAY)), "ValueError"),
    ],
)
def test_of_several_the_most_serious_decides(errors: tuple[BaseException, ...], code: str) -> None:
    told = report(LEASE, group(*errors))

    assert (told.error.code, told.throttled) == (code, False)


def test_of_several_that_are_throttled_the_longest_time_decides() -> None:
    told = report(LEASE, group(SOON, group(LATER, SOON), STOPPED))

    assert (told.throttled, told.retry_after_ms) == (True, 60_000)


def test_the_others_of_a_group_are_counted_and_in_the_traceback() -> None:
    told = report(LEASE, group(AWAY, group(BUG, AWAY))).error

    assert told.message == "ValueError: bug (and 2 more in the group)"
    details = from_value(told.details)
    assert isinstance(details, dict)
    assert details["type"] == "builtins.ValueError"
    assert str(details["traceback"]).count("ConnectionResetError: away") == 2


def test_a_cause_changes_nothing_but_the_traceback() -> None:
    def wrap() -> None:
        try:
            raise GONE
        except Failure as failure:
            raise RuntimeError("wrapped") from failure

    with pytest.raises(RuntimeError) as caught:
        wrap()
    told = report(LEASE, caught.value)

    assert (told.error.code, told.error.category) == (
        "RuntimeError",
        records.ERROR_CATEGORY_TOOL_ERROR,
    )
    assert not told.error.HasField("retry_policy")
    assert "Failure: gone" in str(from_value(told.error.details))
