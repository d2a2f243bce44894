"""Sizes and counts: accepted and delivered whole at the limit, refused one beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
import pytest
from google.protobuf.struct_pb2 import Value

from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import (
    CHANNEL_OPTIONS,
    KIB,
    MIB,
    TIMEOUT_S,
    Door,
    new_tenant,
    ref,
    text,
    text_of,
)
from tests.conformance.refusals import assert_refusal, refused

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.rpc.status_pb2 import Status

    from tests.conftest import StartServer

REPLY_BYTES_MAX: Final = 4_000_000
BATCH_BYTES_MAX: Final = 16 * MIB


def refused_call(door: Door, call: str, request: Message) -> Status:
    return refused(lambda: door.call(call, request))


def context_of(size: int) -> dict[str, str]:
    """A context of so many bytes, encoded."""
    context = {"a": "ä" * 100, "key": ""}
    room = size - api.EnqueueRequest(context=context).ByteSize()
    context["key"] = "x" * (room - 4)
    assert api.EnqueueRequest(context=context).ByteSize() == size
    return context


def test_all_of_a_record_may_be_as_large_as_its_limits_and_is_delivered(door: Door) -> None:
    metadata = {"k": text_of(64 * KIB - 11)}
    assert api.EnqueueRequest(metadata=metadata).ByteSize() == 64 * KIB
    made = door.enqueue(input="ä" * (MIB // 2), context=context_of(64 * KIB), metadata=metadata)
    [lease] = door.lease()
    output = text_of(MIB)
    assert door.complete(lease, output).HasField("result")

    assert lease.execution.input == "ä" * (MIB // 2)
    assert (lease.execution.context, lease.execution.metadata) == (made.context, made.metadata)
    ended = door.get(made.execution_id)
    assert ended.output == output
    assert ended.input == made.input


def test_one_byte_more_of_context_or_metadata_is_too_large(door: Door) -> None:
    before = door.everything()
    context = door.new(context=context_of(64 * KIB + 1))
    assert_refusal(refused_call(door, "Enqueue", context), "TOO_LARGE", "context")
    metadata = door.new(metadata={"k": text_of(64 * KIB - 10)})
    assert_refusal(refused_call(door, "Enqueue", metadata), "TOO_LARGE", "metadata")

    assert door.everything() == before


def batch_of(door: Door, size: int) -> api.EnqueueBatchRequest:
    """A batch of so many bytes, encoded."""
    batch = api.EnqueueBatchRequest(tenant_id=door.tenant)
    batch.items.extend([api.EnqueueRequest(callable_name="c", input="x" * MIB)] * 15)
    batch.items.add(callable_name="c", input="x" * (MIB // 2))
    batch.items[-1].input += "x" * (size - batch.ByteSize())
    assert batch.ByteSize() == size
    return batch


def test_a_batch_may_be_16_mib_and_all_of_it_is_leased(door: Door) -> None:
    over = batch_of(door, BATCH_BYTES_MAX + 1)
    assert_refusal(refused_call(door, "EnqueueBatch", over), "TOO_LARGE", "items")
    assert not any(door.everything())
    door.call("EnqueueBatch", batch_of(door, BATCH_BYTES_MAX))

    leased = 0
    while leases := door.lease(1000):
        leased += len(leases)
        assert work.LeaseResponse(leases=leases).ByteSize() < REPLY_BYTES_MAX
    assert leased == 16


def test_leases_of_any_sizes_fit_an_answer(door: Door) -> None:
    for size in (MIB - 60_000, MIB - 60_000, MIB - 60_000):
        door.enqueue(input="x" * size)
    largest = {"k": "x" * (64 * KIB - 20)}
    door.enqueue(input="x" * MIB, context=largest, metadata={"k": text(largest["k"])})
    leased = 0
    while leases := door.lease(1000):
        leased += len(leases)
        assert work.LeaseResponse(leases=leases).ByteSize() < REPLY_BYTES_MAX

    assert leased == 4


def test_a_batch_may_have_10_000_items(door: Door) -> None:
    batch = api.EnqueueBatchRequest(tenant_id=door.tenant)
    batch.items.extend([api.EnqueueRequest(callable_name="c")] * 10_001)
    status = refused_call(door, "EnqueueBatch", batch)
    assert_refusal(status, "INVALID_ARGUMENT", "items")
    assert door.stats().ready == 0
    del batch.items[-1]
    response = door.call("EnqueueBatch", batch)

    assert len(response.results) == 10_000
    assert response.ByteSize() < REPLY_BYTES_MAX
    assert not any(result.execution.HasField("input") for result in response.results)
    assert door.stats().ready == 10_000
    assert len(door.lease(1000)) == 1000


def test_a_message_of_a_stream_has_the_limits_of_a_batch(door: Door) -> None:
    large = api.EnqueueStreamRequest(items=batch_of(door, BATCH_BYTES_MAX).items)
    large.items[-1].input += "x" * (BATCH_BYTES_MAX + 1 - large.ByteSize())
    many = api.EnqueueStreamRequest(items=[api.EnqueueRequest()] * 10_001)
    for message, reason in ((large, "TOO_LARGE"), (many, "INVALID_ARGUMENT")):
        status = refused(lambda m=message: stream(door, m))  # type: ignore[misc]
        assert_refusal(status, reason, "items")
    assert not any(door.everything())


def stream(door: Door, message: api.EnqueueStreamRequest) -> list[api.EnqueueStreamResponse]:
    return list(door.producer.EnqueueStream(iter([message]), timeout=TIMEOUT_S))


def test_pages_are_cut_to_fit_an_answer_and_go_on(door: Door) -> None:
    made = [door.enqueue(input="x" * (MIB // 2)).execution_id for _ in range(12)]
    request = api.ListRequest(tenant_id=door.tenant, page_size=1000, view=records.VIEW_FULL)
    listed: list[str] = []
    while not listed or request.page_token:
        page = door.call("List", request)
        assert page.ByteSize() < REPLY_BYTES_MAX
        listed += [record.execution_id for record in page.executions]
        request.page_token = page.next_page_token

    assert listed == made[::-1]


@pytest.mark.parametrize(("asked", "shown"), [(0, 10), (1, 1), (12, 12), (1000, 13)])
def test_a_peek_shows_as_many_as_asked(door: Door, asked: int, shown: int) -> None:
    made = [door.enqueue(input="x").execution_id for _ in range(13)]
    peeked = door.call("Peek", api.PeekRequest(tenant_id=door.tenant, limit=asked)).executions

    assert [record.execution_id for record in peeked] == made[:shown]
    assert not any(record.HasField("input") for record in peeked)


def test_a_full_queue_refuses_all_and_says_its_limit(own_server: StartServer) -> None:
    server = own_server(args=("--limit", "max_queue_per_tenant=2"))
    with grpc.insecure_channel(server.target, options=CHANNEL_OPTIONS) as channel:
        door = Door(channel, new_tenant())
        door.enqueue()
        batch = api.EnqueueBatchRequest(tenant_id=door.tenant, items=[door.new(), door.new()])
        before = door.everything()
        assert_refusal(refused_call(door, "EnqueueBatch", batch), "QUEUE_FULL")
        assert door.everything() == before
        door.enqueue()
        assert_refusal(refused_call(door, "Enqueue", door.new()), "QUEUE_FULL")
        [lease] = door.lease()
        door.complete(lease)
        assert door.enqueue().status == records.BACKGROUND_EXECUTION_STATUS_QUEUED


def test_every_report_of_a_call_of_1000_has_its_outcome(door: Door) -> None:
    items = [api.EnqueueRequest(callable_name="c")] * 1000
    door.call("EnqueueBatch", api.EnqueueBatchRequest(tenant_id=door.tenant, items=items))
    leases = door.lease(1000)
    results = [
        work.CompleteResult(
            execution_id=lease.execution.execution_id, lease_token=lease.lease_token
        )
        for lease in leases
    ]
    renewed = door.call("RenewLeases", work.RenewLeasesRequest(leases=map(ref, leases)))
    answer = door.call("Complete", work.CompleteRequest(results=results))

    for outcomes in (renewed.outcomes, answer.outcomes):
        ids = [outcome.result.execution_id for outcome in outcomes]
        assert ids == [lease.execution.execution_id for lease in leases]


def test_a_reply_of_many_refusals_is_no_larger_than_clients_take(door: Door) -> None:
    long = "x" * 3000
    items = [work.LeaseRef(execution_id=long, lease_token=long)] * 1000
    answer = door.call("Release", work.ReleaseRequest(releases=items))

    assert len(answer.outcomes) == 1000
    assert answer.ByteSize() < REPLY_BYTES_MAX


def test_a_json_string_counts_encoded(door: Door) -> None:
    lease = door.enqueue_and_lease()
    outcome = door.complete(lease, text("ä" * (MIB // 2)))

    assert_refusal(outcome.status, "TOO_LARGE", "results[0].output")


def test_outcomes_of_many_refusals_come_in_messages_that_clients_take(door: Door) -> None:
    refused_one = door.new(metadata={"\u2028" * 1000: Value()})
    message = api.EnqueueStreamRequest(items=[refused_one] * 5_000)
    responses = stream(door, message)

    assert sum(len(response.outcomes) for response in responses) == 5_000
    assert all(response.ByteSize() < REPLY_BYTES_MAX for response in responses)
    assert len(responses) > 1


def test_a_wait_for_many_large_errors_fits_an_answer(door: Door) -> None:
    items = [api.EnqueueRequest(callable_name="c")] * 100
    door.call("EnqueueBatch", api.EnqueueBatchRequest(tenant_id=door.tenant, items=items))
    error = records.ExecutionError(
        category=records.ERROR_CATEGORY_TOOL_ERROR, details=text_of(64 * KIB)
    )
    held = map(ref, door.lease(100))
    failures = [
        work.Failure(execution_id=one.execution_id, lease_token=one.lease_token, error=error)
        for one in held
    ]
    door.call("Fail", work.FailRequest(failures=failures))
    ids = [failure.execution_id for failure in failures]
    answer = door.call("Wait", api.WaitRequest(tenant_id=door.tenant, execution_ids=ids))

    assert answer.satisfied
    assert [outcome.execution.execution_id for outcome in answer.outcomes] == ids
    ended = records.BACKGROUND_EXECUTION_STATUS_FAILED
    assert {outcome.execution.status for outcome in answer.outcomes} == {ended}
    assert answer.ByteSize() < REPLY_BYTES_MAX
