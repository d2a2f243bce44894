"""The redrive of many dead letters: its pace, its choice, its name, and the errors that end it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode

from backlane import BackgroundExecution, errors
from backlane.client.redrive_many import Choice, Pace, RedriveMany, checked_name
from backlane.errors.calls import ErrorParts
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterator


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Clock:
    """A monotonic clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the module that is tested."""
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    monkeypatch.setattr(time, "sleep", made.sleep)
    return made


def dead(execution_id: str, at: datetime | None = NOON) -> records.BackgroundExecution:
    proto = records.BackgroundExecution(
        execution_id=execution_id, status=records.BACKGROUND_EXECUTION_STATUS_FAILED
    )
    if at is not None:
        proto.completed_at.FromDatetime(at)
    return proto


class FakePages:
    """Two pages of dead letters."""

    def __init__(self) -> None:
        self._pages = [["a", "b"], ["c"]]

    @property
    def is_over(self) -> bool:
        return not self._pages

    async def next(self) -> list[BackgroundExecution]:
        return [BackgroundExecution(dead(one)) for one in self._pages.pop(0)]


class FakeCalls:
    """Calls that note the request ids, and refuse one execution."""

    def __init__(self, refused: errors.BacklaneError | None = None) -> None:
        self.asked: list[str] = []
        self._refused = refused

    def dead_pages(self, *_: object, **__: object) -> FakePages:
        return FakePages()

    async def redriven(
        self, execution: str, _given: object, options: dict[str, Any]
    ) -> api.RedriveResponse:
        self.asked.append(options["request_id"])
        if execution == "b" and self._refused is not None:
            raise self._refused
        made = records.BackgroundExecution(execution_id=f"new-{execution}")
        return api.RedriveResponse(execution=made)


def run(calls: FakeCalls, **options: Any) -> Iterator[Any]:  # noqa: ANN401  # of any kind
    made: Any = calls
    return iter(RedriveMany(made, options))  # type: ignore[arg-type]  # only what is given


def test_calls_are_as_far_apart_as_the_rate_says(clock: Clock) -> None:
    assert len(list(run(FakeCalls(), rate=4))) == 3
    assert clock.slept == [0.25, 0.25]


def test_a_slow_call_is_not_made_up_for(clock: Clock) -> None:
    pace = Pace(10)
    assert pace.pause_s() == 0
    clock.now += 5
    assert pace.pause_s() == 0
    assert pace.pause_s() == pytest.approx(0.1)


def test_without_a_rate_nobody_waits(clock: Clock) -> None:
    assert len(list(run(FakeCalls()))) == 3
    assert clock.slept == []


def test_each_request_id_is_made_of_the_name_and_the_execution() -> None:
    calls = FakeCalls()
    list(run(calls, name="night run", limit=2))
    assert calls.asked == ["night run/a", "night run/b"]


def test_two_runs_without_a_name_have_different_ones() -> None:
    calls: Any = FakeCalls()
    first, second = RedriveMany(calls, {}), RedriveMany(calls, {})
    assert first.name != second.name
    assert checked_name(first.name) == first.name


def test_nothing_is_asked_before_an_outcome_is_drawn() -> None:
    calls = FakeCalls()
    outcomes = run(calls)
    assert calls.asked == []
    assert next(outcomes).redriven_as == "new-a"
    assert len(calls.asked) == 1


def test_a_refusal_is_an_outcome() -> None:
    refused = errors.AlreadyExistsError(ErrorParts(code=StatusCode.UNAVAILABLE, message="taken"))
    outcomes = list(run(FakeCalls(refused)))
    assert [one.redriven_as for one in outcomes] == ["new-a", None, "new-c"]
    assert outcomes[1].error is refused


@pytest.mark.parametrize("kind", [errors.UnavailableError, errors.DiskFullError])
def test_an_error_that_the_next_call_would_have_too_ends_the_run(
    kind: type[errors.BacklaneError],
) -> None:
    outcomes = run(FakeCalls(kind(ErrorParts(code=StatusCode.UNAVAILABLE, message="away"))))
    assert next(outcomes).redriven_as == "new-a"
    with pytest.raises(kind):
        next(outcomes)


def chosen(**given: Any) -> Choice:  # noqa: ANN401  # of any kind
    none = dict.fromkeys(("callable_name", "status", "since", "until", "limit"))
    return Choice(**{**none, **given})


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({}, True),
        ({"status": "failed"}, True),
        ({"status": "timeout"}, False),
        ({"since": NOON}, True),
        ({"since": NOON + timedelta(milliseconds=1)}, False),
        ({"until": NOON}, False),
        ({"until": NOON + timedelta(milliseconds=1)}, True),
        ({"until": NOON.astimezone(timezone(timedelta(hours=5)))}, False),
    ],
)
def test_a_dead_letter_is_chosen_by_its_status_and_its_end(
    given: dict[str, object], *, fits: bool
) -> None:
    assert chosen(**given).fits(BackgroundExecution(dead("a"))) is fits


def test_one_whose_end_is_not_known_is_in_no_span_of_time() -> None:
    unknown = BackgroundExecution(dead("a", at=None))
    assert chosen().fits(unknown)
    assert not chosen(since=NOON).fits(unknown)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"status": "cancelled"}, "status must be failed or timeout"),
        ({"since": datetime(2026, 1, 1)}, "since needs a time zone"),  # noqa: DTZ001  # refused
        ({"limit": -1}, "limit must not be negative"),
        ({"rate": 0}, "rate must be a number above 0"),
        ({"rate": float("nan")}, "rate must be a number above 0"),
        ({"name": ""}, "name must have 1 to 95 printable ASCII characters"),
        ({"name": "x" * 96}, "name must have 1 to 95 printable ASCII characters"),
        ({"name": "ü"}, "name must have 1 to 95 printable ASCII characters"),
        ({"request_id": "r"}, "request_id is no option of a redrive of many"),
    ],
)
def test_what_cannot_be_chosen_is_refused_at_once(options: dict[str, object], why: str) -> None:
    calls: Any = FakeCalls()
    with pytest.raises(errors.InvalidInputError, match=why):
        RedriveMany(calls, options)  # type: ignore[arg-type]  # what is tested


def test_the_longest_name_makes_a_request_id_that_the_server_takes() -> None:
    # The server takes 128 bytes, and an id has 32.
    assert len(f"{'x' * 95}/{'exec_' + 'x' * 27}") == 128
    assert checked_name("x" * 95)
