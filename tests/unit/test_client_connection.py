"""Whether a call is made again, when, and for how long; no time passes here."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from backlane import errors
from backlane.channel import Endpoint
from backlane.client.connection import ThreadConnection
from backlane.client.patience import explained
from backlane.client.times import WAIT_GRACE_S, WAIT_SLICE_S, Slices
from backlane.sdk.backoff import BACKOFF_FIRST_S, BACKOFF_LAST_S, Backoff
from backlane.sdk.blocking import finish
from backlane.v1 import execution_service_pb2 as api

Code = grpc.StatusCode
TIMEOUT_S = 30.0


class Clock:
    """A clock that stands still but for sleeps and calls."""

    def __init__(self) -> None:
        """Begin anywhere."""
        self.now = 1000.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of this process."""
    made = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    monkeypatch.setattr(time, "sleep", made.sleep)
    return made


class Broken(grpc.RpcError):
    """How a call ends that fails."""

    def __init__(self, code: grpc.StatusCode, text: str = "", reason: str = "") -> None:
        """Describe an end; one with a reason has the details that a server gives."""
        self._code = code
        self._text = text
        self._trailers: list[tuple[str, bytes]] = []
        if reason:
            status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message=text)
            info = error_details_pb2.ErrorInfo(reason=reason, domain=errors.DOMAIN)
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(2500)
            for detail in (info, retry):
                status.details.add().Pack(detail)
            self._trailers.append((errors.DETAILS_KEY, status.SerializeToString()))

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._text

    def trailing_metadata(self) -> Any:  # noqa: ANN401  # gRPC has no public name for it
        return self._trailers


class Method:
    """A call that plays what it is told to, and keeps what it was asked."""

    def __init__(self, clock: Clock, *ends: Broken | None, takes_s: float = 0.0) -> None:
        """Fail with these ends one after another; None, and all that follow, succeed."""
        self._clock = clock
        self._ends = list(ends)
        self._takes_s = takes_s
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: api.WaitRequest, **options: Any) -> str:  # noqa: ANN401
        self.asked.append({"waits_s": request.timeout.ToMilliseconds() / 1000, **options})
        self._clock.now += min(self._takes_s, options["timeout"])
        end = self._ends.pop(0) if self._ends else None
        if end is not None:
            raise end
        return "answer"


def call(
    method: Any,  # noqa: ANN401  # a `Method` in place of gRPC's own
    *,
    waits: bool = True,
    timeout_s: float = TIMEOUT_S,
    slices: Slices | None = None,
) -> object:
    connection = ThreadConnection(Endpoint("here:1"), "Client", waits=waits)
    return finish(connection.call(method, api.WaitRequest(), timeout_s, slices))


AWAY = Broken(Code.UNAVAILABLE, "connection refused")
DRAINING = Broken(Code.UNAVAILABLE, "the server is about to stop", "DRAINING")


@pytest.mark.parametrize("end", [AWAY, DRAINING, Broken(Code.CANCELLED, "stopped")])
def test_a_server_that_is_away_for_a_while_is_called_again(clock: Clock, end: Broken) -> None:
    method = Method(clock, end, end, end)

    assert call(method) == "answer"
    assert len(method.asked) == 4


def test_pauses_grow_and_keep_within_their_bounds(clock: Clock) -> None:
    call(Method(clock, *[AWAY] * 8))

    full = [min(BACKOFF_FIRST_S * 2**n, BACKOFF_LAST_S) for n in range(8)]
    assert all(most / 2 <= slept <= most for slept, most in zip(clock.sleeps, full, strict=True))


def test_a_server_says_how_long_to_pause_at_least(clock: Clock) -> None:
    call(Method(clock, DRAINING))

    assert clock.sleeps == [2.5]


def test_every_attempt_has_what_is_left_of_the_time(clock: Clock) -> None:
    method = Method(clock, *[AWAY] * 100, takes_s=3.0)

    with pytest.raises(errors.UnavailableError, match="no server at here:1"):
        call(method, timeout_s=10.0)

    left = [asked["timeout"] for asked in method.asked]
    assert left[0] == 10.0
    assert left == sorted(left, reverse=True)
    assert len(left) == 4
    assert clock.now <= 1000.0 + 10.0


def test_who_does_not_wait_is_told_at_once(clock: Clock) -> None:
    method = Method(clock, AWAY)

    with pytest.raises(errors.UnavailableError, match=r"no server at here:1: .*refused"):
        call(method, waits=False)

    assert [asked["wait_for_ready"] for asked in method.asked] == [False]
    assert clock.sleeps == []


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (Broken(Code.RESOURCE_EXHAUSTED, "larger than max"), errors.MessageTooLargeError),
        (Broken(Code.UNAVAILABLE, "busy", "RATE_LIMITED"), errors.RateLimitedError),
        (Broken(Code.UNAVAILABLE, "fault", "INTERNAL"), errors.InternalError),
        (Broken(Code.NOT_FOUND, "none"), errors.NotFoundError),
        (Broken(Code.UNIMPLEMENTED, "what?"), errors.UnimplementedError),
    ],
)
def test_what_does_not_pass_is_told_at_once(
    clock: Clock, end: Broken, expected: type[errors.BacklaneError]
) -> None:
    with pytest.raises(expected) as told:
        call(Method(clock, end))

    assert clock.sleeps == []
    assert told.value.__cause__ is end


def test_a_wait_that_is_asked_for_again_is_not_begun_anew(clock: Clock) -> None:
    method = Method(clock, AWAY, AWAY, takes_s=4.0)

    call(method, slices=Slices(10.0))

    waits = [asked["waits_s"] for asked in method.asked]
    assert waits[0] == 10.0
    assert [round(wait) for wait in waits] == [10, 6, 2]
    assert method.asked[0]["timeout"] == 10.0 + WAIT_GRACE_S


@pytest.mark.parametrize(
    ("timeout", "patience_s"),
    [
        (None, WAIT_SLICE_S + TIMEOUT_S),
        (math.inf, WAIT_SLICE_S + TIMEOUT_S),
        (timedelta(hours=1), WAIT_SLICE_S + TIMEOUT_S),
        (0.5, 0.5 + WAIT_GRACE_S),
        (0, WAIT_GRACE_S),
        (-1, WAIT_GRACE_S),
    ],
)
def test_a_wait_looks_for_a_server_hardly_longer_than_it_lasts(
    clock: Clock, timeout: float | timedelta | None, patience_s: float
) -> None:
    method = Method(clock)

    call(method, slices=Slices(timeout))

    assert method.asked[0]["timeout"] == pytest.approx(patience_s)


@pytest.mark.parametrize("given", [math.nan, "5", True, [1]])
def test_a_wait_for_no_time_is_refused(given: Any) -> None:  # noqa: ANN401  # it is none
    with pytest.raises(errors.InvalidInputError, match="timeout must be"):
        Slices(given)


def test_a_long_wait_is_made_of_slices(clock: Clock) -> None:
    endless, long = Slices(None), Slices(WAIT_SLICE_S + 5)
    first = (endless.next_s(), long.next_s())
    clock.now += WAIT_SLICE_S

    assert first == (WAIT_SLICE_S, WAIT_SLICE_S)
    assert (endless.next_s(), long.next_s()) == (WAIT_SLICE_S, 5)
    clock.now += 6
    assert (endless.is_over, long.is_over) == (False, True)
    assert (endless.left_s, long.left_s) == (None, 0)


def test_no_pause_follows_a_refusal() -> None:
    refused = errors.InvalidArgumentError(errors.ErrorParts(Code.INVALID_ARGUMENT, "no"))

    assert Backoff().pause_s(refused) == 0.0


def test_a_server_that_is_not_there_is_named_once_however_often_it_is_explained() -> None:
    text = "failed to connect to all addresses; last error: UNKNOWN: Connection refused"
    error = errors.UnavailableError(errors.ErrorParts(Code.UNAVAILABLE, text))

    once = explained(error, "here:1")

    assert explained(once, "here:1") is once
    assert once.message == (
        "no server at here:1: start one with `backlane serve`, or name another target "
        "(UNKNOWN: Connection refused)"
    )


def test_a_server_that_is_leaving_is_not_called_absent() -> None:
    draining = errors.from_rpc_error(DRAINING)

    assert explained(draining, "here:1") is draining
