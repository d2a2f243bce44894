"""Owns the messages that many enqueues go in.

A message is an `EnqueueBatchRequest` for all inputs of a call, or a slice for the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from backlane import errors
from backlane.client.outbox import MESSAGE_BYTES, MESSAGE_ITEMS_MAX
from backlane.sdk.request import ITEM_BYTES_MAX, check_size, set_input
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from backlane.client.outbox import Outcome

M = TypeVar("M", api.EnqueueBatchRequest, api.EnqueueStreamRequest)

BATCH_ITEMS_MIN: Final = 50
"""Fewer inputs go over the stream, where those of several callers go together."""
_MARKS_BYTES: Final = 16
"""The tags and lengths of an item, its request id and its input together are shorter than that."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of many enqueues, for one message.

    Attributes:
        encoded: the requests that can be sent, as an encoded `EnqueueStreamRequest`.
        errors: of inputs that cannot be sent, by their place in the slice.
        count: how many inputs the slice has, sent or not.
    """

    encoded: bytes
    errors: Mapping[int, Exception]
    count: int

    @property
    def sent(self) -> int:
        """How many requests can be sent."""
        return self.count - len(self.errors)


def make_batch(
    template: api.EnqueueRequest, inputs: Iterable[object]
) -> api.EnqueueBatchRequest | None:
    """Make one request of all inputs, but for its request id; None where they do not suit one.

    They do not if they are few, if they do not fit one message or are not there yet, if one of them
    cannot be sent, or if each execution may end differently: a batch makes all of them or none.
    """
    if not isinstance(inputs, Sequence) or template.request_id or template.dedup_key:
        return None
    fixed = template.ByteSize() + _MARKS_BYTES
    size, count = 0, len(inputs)
    if not BATCH_ITEMS_MIN <= count <= min(MESSAGE_ITEMS_MAX, MESSAGE_BYTES // fixed):
        return None
    batch = _copies(api.EnqueueBatchRequest, template, count)
    batch.tenant_id = template.tenant_id
    for request, given in zip(batch.items, inputs, strict=True):
        try:
            size += fixed + set_input(request, given)
        except errors.InvalidInputError:
            return None
        if size > MESSAGE_BYTES:
            return None
    return batch


def make_slice(template: api.EnqueueRequest, numbered: Iterator[tuple[object, str]]) -> Slice:
    """Make a slice of the next inputs, which are given with their request ids."""
    fixed = template.ByteSize() + _MARKS_BYTES
    most = min(MESSAGE_ITEMS_MAX, MESSAGE_BYTES // fixed + 1)
    message = _copies(api.EnqueueStreamRequest, template, most)
    refused: dict[int, Exception] = {}
    count = size = 0
    for request, (given, request_id) in zip(message.items, numbered, strict=False):
        request.request_id = request_id
        try:
            item_size = fixed + len(request_id) + set_input(request, given)
            if item_size > ITEM_BYTES_MAX:
                check_size(request)
            size += item_size
        except (errors.InvalidInputError, errors.TooLargeError) as error:
            refused[count] = error
        count += 1
        if size >= MESSAGE_BYTES:
            break
    del message.items[count:]
    for index in reversed(refused):
        del message.items[index]
    return Slice(message.SerializeToString(), refused, count)


def _copies(kind: type[M], template: api.EnqueueRequest, count: int) -> M:
    """Return a message with so many copies; to read them is faster than to copy each."""
    return kind.FromString(kind(items=[template]).SerializeToString() * count)


def put_together(part: Slice, outcomes: Sequence[Outcome]) -> Iterable[Outcome | Exception]:
    """Return the outcomes of a slice in the order of its inputs."""
    if not part.errors:
        return outcomes
    answered = iter(outcomes)
    return [
        part.errors[index] if index in part.errors else next(answered)
        for index in range(part.count)
    ]
