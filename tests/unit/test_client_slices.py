"""How many enqueues are divided into messages, and which of their inputs cannot be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from backlane import errors
from backlane.client.enqueue_request import request_ids
from backlane.client.many import BATCH_ITEMS_MIN, Slice, make_batch, make_slice, put_together
from backlane.client.outbox import MESSAGE_BYTES, MESSAGE_ITEMS_MAX
from backlane.schema.options import ABSENT, RawInput
from backlane.sdk.request import ITEM_BYTES_MAX, fill
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BROKEN = RawInput("\udcff")


def slices(inputs: Iterable[object], **options: Any) -> Iterator[Slice]:  # noqa: ANN401
    """The slices of many enqueues."""
    template = api.EnqueueRequest()
    fill(template, "acme", "work", ABSENT, options)  # type: ignore[arg-type]
    numbered = zip(inputs, request_ids("id"), strict=False)
    return iter(lambda: make_slice(template, numbered), Slice(b"", {}, 0))


def batch(
    inputs: Iterable[object],
    **options: Any,  # noqa: ANN401
) -> api.EnqueueBatchRequest | None:
    """The batch of many enqueues."""
    template = api.EnqueueRequest()
    fill(template, "acme", "work", ABSENT, options)  # type: ignore[arg-type]
    return make_batch(template, inputs)


def items(part: Slice) -> list[api.EnqueueRequest]:
    """The requests of a slice."""
    return list(api.EnqueueStreamRequest.FromString(part.encoded).items)


def test_every_request_is_the_template_with_an_id_and_an_input() -> None:
    [part] = slices(["a", RawInput("b"), ABSENT], priority=7, metadata={"m": 1})

    expected = [api.EnqueueRequest() for _ in range(3)]
    for number, (request, given) in enumerate(
        zip(expected, ["a", RawInput("b"), ABSENT], strict=True)
    ):
        fill(request, "acme", "work", given, {"priority": 7, "metadata": {"m": 1}})
        request.request_id = f"id-{number + 1}"
    assert items(part) == expected


def test_a_slice_is_bounded_in_items_and_in_bytes() -> None:
    assert [part.count for part in slices([1] * (MESSAGE_ITEMS_MAX + 1))] == [MESSAGE_ITEMS_MAX, 1]

    half = RawInput("x" * (MESSAGE_BYTES // 2))
    wide = RawInput("é" * (MESSAGE_BYTES // 4))
    assert [part.count for part in slices([half] * 5)] == [2, 2, 1]
    assert [part.count for part in slices([wide] * 5)] == [2, 2, 1]
    assert [part.count for part in slices([1] * 5, context={"c": half})] == [2, 2, 1]


def test_inputs_that_cannot_be_sent_leave_their_place_to_an_error() -> None:
    largest = RawInput("x" * ITEM_BYTES_MAX)
    [part] = slices(["a", BROKEN, "b", largest, "c"])

    assert [item.input for item in items(part)] == ['"a"', '"b"', '"c"']
    assert {place: type(error) for place, error in part.errors.items()} == {
        1: errors.InvalidInputError,
        3: errors.TooLargeError,
    }


def test_an_input_of_exactly_the_limit_is_sent() -> None:
    [empty] = slices([RawInput("")])
    [item] = items(empty)
    # An input of that size needs a length of four bytes, where an empty one needs one.
    fits = "x" * (ITEM_BYTES_MAX - item.ByteSize() - 3)

    [part] = slices([RawInput(fits)])
    [above] = slices([RawInput(f"{fits}x")])

    assert [request.ByteSize() for request in items(part)] == [ITEM_BYTES_MAX]
    [error] = above.errors.values()
    assert isinstance(error, errors.TooLargeError)
    assert f"{ITEM_BYTES_MAX + 1} bytes" in error.message


def test_outcomes_are_told_in_the_order_of_the_inputs() -> None:
    [part] = slices([BROKEN, "a", BROKEN, "b"])
    made = [api.EnqueueResult(execution_id=one) for one in "AB"]

    told = [
        one.execution_id if isinstance(one, api.EnqueueResult) else type(one).__name__
        for one in put_together(part, made)
    ]

    assert told == ["InvalidInputError", "A", "InvalidInputError", "B"]


def test_a_batch_has_every_input_and_no_request_ids() -> None:
    made = batch([str(number) for number in range(BATCH_ITEMS_MIN)], priority=7)

    assert made is not None
    assert (made.tenant_id, made.request_id) == ("acme", "")
    assert [item.input for item in made.items] == [f'"{n}"' for n in range(BATCH_ITEMS_MIN)]
    assert {(item.request_id, item.config.priority) for item in made.items} == {("", 7)}


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        (["a"] * (BATCH_ITEMS_MIN - 1), {}),
        (["a"] * (MESSAGE_ITEMS_MAX + 1), {}),
        ([RawInput("x" * (MESSAGE_BYTES // BATCH_ITEMS_MIN))] * BATCH_ITEMS_MIN, {}),
        (["a"] * BATCH_ITEMS_MIN, {"context": {"c": "x" * (MESSAGE_BYTES // BATCH_ITEMS_MIN)}}),
        ([*(["a"] * BATCH_ITEMS_MIN), BROKEN], {}),
        (iter(["a"] * BATCH_ITEMS_MIN), {}),
        (["a"] * BATCH_ITEMS_MIN, {"request_id": "mine"}),
        (["a"] * BATCH_ITEMS_MIN, {"dedup_key": "mine"}),
    ],
    ids=[
        "few",
        "many",
        "large",
        "large context",
        "unsendable",
        "not there yet",
        "own ids",
        "dedup",
    ],
)
def test_what_does_not_suit_a_batch_is_left_to_the_stream(
    inputs: Iterable[object], options: dict[str, object]
) -> None:
    assert batch(inputs, **options) is None
