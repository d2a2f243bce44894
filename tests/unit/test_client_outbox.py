"""What waits to go over a stream: how it is gathered, answered, sent again, and given up."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from backlane import errors
from backlane.client.outbox import (
    MESSAGE_BYTES,
    MESSAGE_ITEMS_MAX,
    UNANSWERED_BYTES_MAX,
    UNANSWERED_ITEMS_MAX,
    Outbox,
    Parcel,
)
from backlane.v1 import execution_service_pb2 as api

Code = grpc.StatusCode
REFUSED = errors.InvalidArgumentError(
    errors.ErrorParts(Code.INVALID_ARGUMENT, "no", reason="INVALID_ARGUMENT")
)
AWAY = errors.UnavailableError(errors.ErrorParts(Code.UNAVAILABLE, "gone"))
UNTOLD = errors.InternalError(errors.ErrorParts(Code.INTERNAL, "Internal error from Core"))
LIMITED = errors.RateLimitedError(
    errors.ErrorParts(Code.RESOURCE_EXHAUSTED, "too many", reason="RATE_LIMITED")
)


class Box:
    """An outbox, with requests that are told apart by their ids."""

    def __init__(self, *, waits: bool = True) -> None:
        """Begin empty."""
        self.outbox = Outbox(waits=waits)
        self.done: list[str] = []

    def add(self, *ids: str, input_bytes: int = 0) -> Parcel:
        """Hand a parcel in."""
        items = [api.EnqueueRequest(request_id=one, input="x" * input_bytes) for one in ids]
        encoded = api.EnqueueStreamRequest(items=items).SerializeToString()
        parcel = Parcel(encoded, len(ids), lambda: self.done.append("".join(ids)))
        self.outbox.add(parcel)
        return parcel

    def take(self) -> str | None:
        """Take the next message; its requests' ids."""
        encoded = self.outbox.take()
        if encoded is None:
            return None
        items = api.EnqueueStreamRequest.FromString(encoded).items
        return "".join(item.request_id for item in items)

    def answer(self, ids: str) -> None:
        """Answer requests with executions named after them."""
        outcomes = [
            api.EnqueueOutcome(result=api.EnqueueResult(execution_id=one.upper())) for one in ids
        ]
        assert self.outbox.answer(outcomes) is None


@pytest.fixture
def box() -> Box:
    """An empty box."""
    return Box()


def told(parcel: Parcel) -> list[str]:
    """What became of a parcel's requests."""
    return [
        type(one).__name__ if isinstance(one, errors.BacklaneError) else one.execution_id
        for one in parcel.outcomes
    ]


def status(reason: str, code: int, message: str, **metadata: str) -> status_pb2.Status:
    made = status_pb2.Status(code=code, message=message)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=errors.DOMAIN, metadata=metadata)
    made.details.add().Pack(info)
    return made


def test_what_gathers_is_one_message_in_the_order_it_came(box: Box) -> None:
    box.add("a")
    assert box.take() == "a"
    for one in "bcd":
        box.add(one)

    assert box.take() == "bcd"
    assert box.take() is None


def test_outcomes_go_to_the_oldest_requests(box: Box) -> None:
    first, second = box.add("a", "b"), box.add("c")
    box.take()

    box.answer("a")
    assert box.done == []
    box.answer("bc")

    assert box.done == ["ab", "c"]
    assert (told(first), told(second)) == (["A", "B"], ["C"])
    assert len(box.outbox) == 0


def test_a_message_is_bounded_in_items_and_in_bytes(box: Box) -> None:
    box.add(*"x" * (MESSAGE_ITEMS_MAX + 1))
    assert box.take() == "x" * MESSAGE_ITEMS_MAX
    assert box.take() == "x"

    for one in "abc":
        box.add(one, input_bytes=MESSAGE_BYTES)
    assert [box.take() for _ in range(3)] == ["a", "b", "c"]


def test_a_parcel_is_divided_only_where_it_exceeds_a_message_by_itself(box: Box) -> None:
    box.add(*"x" * (MESSAGE_ITEMS_MAX - 1))
    parcel = box.add("a", "b")
    box.add(*"y" * (MESSAGE_ITEMS_MAX + 1))

    assert box.take() == "x" * (MESSAGE_ITEMS_MAX - 1)
    assert box.take() == "ab"
    assert [box.take(), box.take()] == ["y" * MESSAGE_ITEMS_MAX, "y"]
    box.answer("x" * (MESSAGE_ITEMS_MAX - 1) + "ab")
    assert told(parcel) == ["A", "B"]


def test_single_requests_gather_while_more_are_on_their_way(box: Box) -> None:
    gathering = [box.outbox.is_gathering]
    box.add("a")
    gathering.append(box.outbox.is_gathering)
    box.add("b")
    box.take()
    box.add("c")
    gathering.append(box.outbox.is_gathering)
    box.answer("a")
    gathering.append(box.outbox.is_gathering)

    assert gathering == [False, False, True, False]
    assert box.take() == "c"


@pytest.mark.parametrize("large", [{"ids": "de"}, {"ids": "d", "input_bytes": MESSAGE_BYTES}])
def test_what_is_large_waits_for_nothing(box: Box, large: dict[str, Any]) -> None:
    box.add("a", "b", "c")
    box.take()

    box.add(*large.pop("ids"), **large)

    assert not box.outbox.is_gathering


def test_answers_that_nobody_waits_for_are_passed_over(box: Box) -> None:
    sent = box.add("a")
    box.take()
    waiting = box.add("b")

    box.answer("aaa")

    assert (told(sent), told(waiting)) == (["A"], [])
    assert box.take() == "b"
    box.answer("b")
    assert told(waiting) == ["B"]


@pytest.mark.parametrize(
    ("ids", "input_bytes"), [("x" * UNANSWERED_ITEMS_MAX, 0), ("x", UNANSWERED_BYTES_MAX)]
)
def test_there_is_no_room_while_too_much_is_unanswered(
    box: Box, ids: str, input_bytes: int
) -> None:
    rooms = [box.outbox.has_room]
    box.add(*ids, input_bytes=input_bytes)
    rooms.append(box.outbox.has_room)
    while (message := box.take()) is not None:
        rooms.append(box.outbox.has_room)
        box.answer(message)
    rooms.append(box.outbox.has_room)

    assert [rooms[0], *set(rooms[1:-1]), rooms[-1]] == [True, False, True]


def test_an_empty_parcel_is_done_at_once(box: Box) -> None:
    box.add()

    assert box.done == [""]
    assert box.take() is None


def test_a_broken_stream_has_what_is_unanswered_sent_again_in_order(box: Box) -> None:
    box.add("a", "b")
    box.add("c")
    box.take()
    box.add("d")
    box.answer("a")

    box.outbox.recover(AWAY)

    assert box.take() == "bcd"
    box.answer("bcd")
    assert box.done == ["ab", "c", "d"]


def test_what_was_abandoned_is_not_sent_again(box: Box) -> None:
    left, stays = box.add("a"), box.add("b")
    box.take()
    box.outbox.abandon(left)

    box.outbox.recover(AWAY)

    assert box.take() == "b"
    box.answer("b")
    assert told(stays) == ["B"]


def test_what_was_abandoned_under_way_still_takes_its_outcome(box: Box) -> None:
    left, stays = box.add("a"), box.add("b")
    box.take()
    box.outbox.abandon(left)

    box.answer("ab")

    assert (told(left), told(stays)) == (["A"], ["B"])


def test_what_was_abandoned_before_it_left_is_never_sent(box: Box) -> None:
    left = box.add("a")
    box.add("b")

    box.outbox.abandon(left)

    assert box.take() == "b"


def test_an_abandoned_parcel_may_have_failed_before(box: Box) -> None:
    parcel = box.add("a")
    box.outbox.fail_all(LIMITED)

    box.outbox.abandon(parcel)

    assert told(parcel) == ["RateLimitedError"]
    assert len(box.outbox) == 0


def test_a_server_that_is_leaving_took_nothing_in_from_there_on(box: Box) -> None:
    parcel = box.add("a", "b")
    box.take()
    draining = status("DRAINING", code_pb2.UNAVAILABLE, "about to stop")
    outcomes = [
        api.EnqueueOutcome(result=api.EnqueueResult(execution_id="A")),
        api.EnqueueOutcome(status=draining),
    ]

    error = box.outbox.answer(outcomes)
    assert isinstance(error, errors.DrainingError)
    box.outbox.recover(error)

    assert box.take() == "b"
    box.answer("b")
    assert told(parcel) == ["A", "B"]


def test_who_does_not_wait_is_told_that_the_server_is_leaving() -> None:
    box = Box(waits=False)
    parcel = box.add("a")
    box.take()

    box.outbox.answer(
        [api.EnqueueOutcome(status=status("DRAINING", code_pb2.UNAVAILABLE, "about to stop"))]
    )

    assert told(parcel) == ["DrainingError"]


@pytest.mark.parametrize(
    ("error", "waits", "expected"),
    [
        (LIMITED, True, "RateLimitedError"),
        (AWAY, False, "UnavailableError"),
        (UNTOLD, False, "UnavailableError"),
    ],
)
def test_other_ends_are_told_to_all(
    error: errors.BacklaneError,
    waits: bool,  # noqa: FBT001  # pytest names it
    expected: str,
) -> None:
    box = Box(waits=waits)
    parcels = [box.add("a", "b"), box.add("c")]
    box.take()
    box.answer("a")

    box.outbox.recover(error)

    assert [told(parcel) for parcel in parcels] == [["A", expected], [expected]]
    assert box.take() is None


def test_an_untold_end_is_followed_by_one_message_at_a_time(box: Box) -> None:
    box.add("a", "b")
    box.take()

    box.outbox.recover(UNTOLD)
    box.add("c")

    assert box.outbox.is_wary
    assert box.take() == "abc"
    box.add("d")
    assert box.take() is None
    box.answer("ab")
    assert box.take() == "d"
    assert not box.outbox.is_wary


def play(box: Box, *, culprits: str, takes: int) -> int:
    """Play a server that ends streams at certain requests or large messages; count its streams."""
    streams = 1
    while (ids := box.take()) is not None:
        if len(ids) > takes or any(one in culprits for one in ids):
            box.outbox.recover(REFUSED)
            streams += 1
        else:
            box.answer(ids)
    return streams


def test_one_request_that_breaks_every_message_is_refused_alone(box: Box) -> None:
    parcels = [box.add(one) for one in "abcdefgh"]

    streams = play(box, culprits="f", takes=500)

    assert [told(parcel) for parcel in parcels] == [
        ["InvalidArgumentError"] if one == "f" else [one.upper()] for one in "abcdefgh"
    ]
    # The first, the same again to be sure which message it was, and three halvings.
    assert streams == 6
    box.add("i", "j", "k")
    assert box.take() == "ijk"


def test_a_server_that_takes_smaller_messages_gets_them_from_then_on(box: Box) -> None:
    parcel = box.add(*"abcdefgh")

    streams = play(box, culprits="", takes=3)

    assert told(parcel) == list("ABCDEFGH")
    assert streams == 4
    box.add("i", "j", "k")
    assert [box.take(), box.take()] == ["ij", "k"]


def test_a_stream_that_is_refused_with_nothing_on_it_is_told_to_all(box: Box) -> None:
    parcel = box.add("a")

    box.outbox.recover(REFUSED)

    assert told(parcel) == ["InvalidArgumentError"]


def test_an_answer_that_comes_after_everything_was_given_up_is_passed_over(box: Box) -> None:
    parcel = box.add("a", "b")
    box.take()
    box.outbox.fail_all(AWAY)

    box.answer("ab")

    assert [type(one) for one in parcel.outcomes] == [errors.UnavailableError] * 2
    assert box.add("c").outcomes == []


def test_what_was_sent_before_a_stream_broke_may_have_been_taken_in(box: Box) -> None:
    sent, waiting = box.add("a"), box.add("b")
    assert box.outbox.take() is not None
    box.outbox.recover(AWAY)
    late = box.add("c")

    box.outbox.recover(LIMITED)

    ends = [end for one in (sent, waiting, late) for end in one.outcomes]
    told = [end.maybe_applied for end in ends if isinstance(end, errors.RateLimitedError)]
    assert told == [True, True, False]


def test_a_field_is_named_as_if_the_request_stood_alone(box: Box) -> None:
    parcel = box.add("a")
    box.take()
    field = "items[3].config.priority"
    refusal = status("TOO_LARGE", code_pb2.OUT_OF_RANGE, f"{field}: is too large", field=field)

    box.outbox.answer([api.EnqueueOutcome(status=refusal)])

    [error] = parcel.outcomes
    assert isinstance(error, errors.TooLargeError)
    assert (error.message, error.field) == ("config.priority: is too large", "config.priority")
