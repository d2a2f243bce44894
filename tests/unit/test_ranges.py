"""Options are refused where they are written, in the ranges that the core has."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, get_args

import pytest

from backlane import Retry
from backlane.schema.options import FATAL_CATEGORIES, Category
from backlane.schema.ranges import RANGES, check
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from backlane.worker.failure import number_of
from tests.unit.core_calls import RefusedCallError, call, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backlane import _core

CONFIG: Final = ("priority", "timeout_ms")
RETRY: Final = ("max_attempts", "initial_delay_ms", "max_delay_ms", "backoff_multiplier")


@pytest.fixture
def core() -> Iterator[_core.Core]:
    with running() as made:
        yield made


def enqueue(core: _core.Core, config: records.BackgroundExecutionConfig) -> None:
    call(core, "Enqueue", api.EnqueueRequest(tenant_id="t", callable_name="c", config=config))


def take(core: _core.Core) -> work.Lease:
    """Lease the only execution."""
    request = work.LeaseRequest(worker_id="w", callables=["*"], max_executions=1)
    [lease] = work.LeaseResponse.FromString(call(core, "Lease", request)).leases
    return lease


def fail(core: _core.Core, failure: work.Failure) -> work.LeaseOutcome:
    """Report a failure of the only execution, and return what became of it."""
    lease = take(core)
    failure.execution_id, failure.lease_token = (
        lease.execution.execution_id,
        lease.lease_token,
    )
    request = work.FailRequest(failures=[failure])
    [outcome] = work.FailResponse.FromString(call(core, "Fail", request)).outcomes
    return outcome


def set_config(core: _core.Core, **fields: Any) -> None:  # noqa: ANN401  # those of the message
    enqueue(core, records.BackgroundExecutionConfig(**fields))


def set_retry(core: _core.Core, **fields: Any) -> None:  # noqa: ANN401  # those of the message
    enqueue(core, records.BackgroundExecutionConfig(retry=records.RetryConfig(**fields)))


def set_lease(core: _core.Core, lease: float) -> None:
    request = work.LeaseRequest(worker_id="w", callables=["*"], max_executions=1)
    request.lease_duration_ms = round(lease)
    call(core, "Lease", request)


def milliseconds(name: str) -> tuple[int, int]:
    """The range of an option that is a time, in milliseconds."""
    return round(RANGES[name].least * 1000), round(RANGES[name].most * 1000)


SET: Final[dict[str, Callable[[_core.Core, float], None]]] = {
    "priority": lambda core, value: set_config(core, priority=value),
    "timeout": lambda core, value: set_config(core, timeout_ms=round(value)),
    "max_attempts": lambda core, value: set_retry(core, max_attempts=value),
    "initial_delay": lambda core, value: set_retry(core, initial_delay_ms=round(value)),
    "max_delay": lambda core, value: set_retry(core, max_delay_ms=round(value)),
    "backoff_multiplier": lambda core, value: set_retry(core, backoff_multiplier=value),
    "lease": set_lease,
}
"""How each option reaches the core; a time in milliseconds."""
BEYOND: Final[dict[str, list[float]]] = {
    "priority": [256],
    "timeout": [0],
    "max_attempts": [0],
    "backoff_multiplier": [-0.001, math.inf, math.nan],
    "lease": [999, 3_600_001],
}
"""Values that the message can hold and the core refuses."""


def bounds(name: str) -> tuple[float, float]:
    """The lowest and the highest value, as they reach the core."""
    allowed = RANGES[name]
    return milliseconds(name) if allowed.is_time else (allowed.least, allowed.most)


@pytest.mark.parametrize("name", SET)
def test_the_core_takes_both_ends_of_a_range(core: _core.Core, name: str) -> None:
    for value in bounds(name):
        SET[name](core, value)


@pytest.mark.parametrize("name", BEYOND)
def test_the_core_refuses_what_is_beyond_and_python_too(core: _core.Core, name: str) -> None:
    for value in BEYOND[name]:
        with pytest.raises(RefusedCallError):
            SET[name](core, value)
        with pytest.raises(ValueError, match=f"{name} must be "):
            check(name, value / 1000 if RANGES[name].is_time else value)


def test_the_longest_time_to_try_again_is_the_cores(core: _core.Core) -> None:
    _, longest = milliseconds("retry_after")
    kept = []
    for delay in (longest, longest + 1):
        set_retry(core, max_attempts=9)
        failure = work.Failure(retry_after_ms=delay)
        failure.error.category = records.ERROR_CATEGORY_TOOL_ERROR
        kept.append(fail(core, failure).HasField("result"))
        if not kept[-1]:
            break

    assert kept == [True, False]


@pytest.mark.parametrize("category", get_args(Category))
def test_the_fatal_categories_are_the_cores(core: _core.Core, category: Category) -> None:
    set_retry(core, max_attempts=9)
    failure = work.Failure()
    failure.error.category = number_of(category)
    status = fail(core, failure).result.status

    is_final = status == records.BACKGROUND_EXECUTION_STATUS_FAILED
    assert is_final == (category in FATAL_CATEGORIES)


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_each_range_are_taken_and_nothing_beyond(name: str) -> None:
    allowed = RANGES[name]
    step = 1 if allowed.is_whole else 1e-9
    check(name, int(allowed.least) if allowed.is_whole else allowed.least)
    check(name, int(allowed.most) if allowed.is_whole else allowed.most)
    for value in (allowed.least - step, allowed.most * 2 + step, math.nan, math.inf):
        if not (allowed.is_whole and isinstance(value, float)):
            with pytest.raises(ValueError, match=f"^{name} must be "):
                check(name, value)
    for strange in ("1", None, True, [1]):
        with pytest.raises(TypeError, match=f"^{name} must be a .*, not "):
            check(name, strange)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"max_attempts": 0}, ValueError, "max_attempts must be from 1 to 65535, not 0"),
        ({"max_attempts": 2.5}, TypeError, "max_attempts must be a whole number, not 2.5"),
        ({"strategy": "cubic"}, ValueError, "strategy must be one of fixed, linear, exponential"),
        ({"initial_delay": -1}, ValueError, "initial_delay must be finite and at least 0 seconds"),
        (
            {"initial_delay": 300},
            ValueError,
            "initial_delay must be at most max_delay, which is 60 seconds, not 300 seconds: raise",
        ),
        (
            {"initial_delay": timedelta(seconds=2), "max_delay": 1},
            ValueError,
            "initial_delay must be at most max_delay, which is 1 seconds, not 2 seconds",
        ),
        ({"backoff_multiplier": math.nan}, ValueError, "backoff_multiplier must be finite"),
        ({"max_delay": math.inf}, ValueError, "max_delay must be finite and at least 0 seconds"),
        ({"jitter": 0.5}, TypeError, "jitter must be True or False, not 0.5"),
        (
            {"retry_on": ["timeout", "validation_error"]},
            ValueError,
            "timeout, not 'validation_error', which is never retried",
        ),
        ({"retry_on": ["tool"]}, ValueError, "retry_on must be of .*, not 'tool', which is no"),
        ({"retry_on": "timeout"}, TypeError, "retry_on must be a list of categories, not 'timeo"),
    ],
)
def test_a_rule_that_cannot_act_as_written_is_refused_where_it_is_written(
    options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        Retry(**options)


def test_rules_that_can_act_are_taken() -> None:
    rule = Retry(initial_delay=300, max_delay=300, retry_on=["timeout", "network_error"])

    assert (rule.initial_delay, Retry(initial_delay=0, max_delay=0).max_delay) == (300, 0)
    assert Retry(initial_delay=timedelta(seconds=90), max_delay=timedelta(minutes=2)).jitter
