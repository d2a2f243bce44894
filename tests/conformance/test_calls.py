"""The promises of the producers' calls: repeats, order and waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import TIMEOUT_S, UNKNOWN_ID, Door, ref, text
from tests.conformance.refusals import assert_refusal, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUED = records.BACKGROUND_EXECUTION_STATUS_QUEUED
RUNNING = records.BACKGROUND_EXECUTION_STATUS_RUNNING
COMPLETED = records.BACKGROUND_EXECUTION_STATUS_COMPLETED
FAILED = records.BACKGROUND_EXECUTION_STATUS_FAILED
CANCELLED = records.BACKGROUND_EXECUTION_STATUS_CANCELLED
NO_TIME = Duration()


def test_a_request_repeated_answers_the_same_execution_whatever_became_of_it(door: Door) -> None:
    request = door.new(request_id="r", input="in", metadata={"a": text("1"), "b": text("2")})
    first = door.call("Enqueue", request)
    again = door.call("Enqueue", request)
    [lease] = door.lease()
    running = door.call("Enqueue", request)
    door.complete(lease, text("out"))
    ended = door.call("Enqueue", request)

    assert not first.existing
    assert (again.existing, again.execution) == (True, first.execution)
    assert (running.existing, running.execution.status) == (True, RUNNING)
    assert ended.execution == door.get(first.execution.execution_id)
    assert ended.execution.output == text("out")


@pytest.mark.parametrize(
    "change",
    [
        {"input": "other"},
        {"callable_name": "other"},
        {"context": {"a": "2"}},
        {"dedup_key": "k"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_request_id_with_another_body_is_refused(door: Door, change: dict[str, object]) -> None:
    fields: dict[str, object] = {"request_id": "r", "input": "in", "metadata": {"a": text("1")}}
    door.enqueue(**fields)
    before = door.everything()
    request = door.new(**fields | change)

    assert_refusal(refused(lambda: door.call("Enqueue", request)), "REQUEST_ID_REUSED")
    assert door.everything() == before


@pytest.mark.parametrize(
    "change",
    [
        {"max_worker_losses": 7},
        {"config": records.BackgroundExecutionConfig(priority=90)},
        {"metadata": {"a": text("2")}},
        {"dedup_policy": api.DEDUP_POLICY_REJECT},
        {"delay_ms": 0},
        {"delay_ms": 3_600_000},
        {"not_before": Timestamp(seconds=4_000_000_000)},
        {"start_deadline": Timestamp(seconds=4_000_000_000)},
        {"deadline": Timestamp(seconds=4_000_000_000)},
        {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_repeated_request_may_have_other_settings_which_change_nothing(
    door: Door, change: dict[str, object]
) -> None:
    fields: dict[str, object] = {"request_id": "r", "input": "in", "metadata": {"a": text("1")}}
    first = door.enqueue(**fields)

    again = door.call("Enqueue", door.new(**fields | change))

    assert (again.existing, again.execution) == (True, first)


def test_a_delay_counts_from_the_servers_time_and_a_repetition_does_not_begin_it_anew(
    door: Door,
) -> None:
    first = door.enqueue(request_id="r", delay_ms=60_000)
    again = door.call("Enqueue", door.new(request_id="r", delay_ms=60_000))
    other = door.call("Enqueue", door.new(request_id="r", delay_ms=1))

    waits_ms = first.not_before.ToMilliseconds() - first.queued_at.ToMilliseconds()
    # The server takes a request a little before it decides it.
    assert 0 < waits_ms <= 60_000
    assert (again.existing, again.execution) == (True, first)
    assert (other.existing, other.execution) == (True, first)


def test_a_request_that_was_refused_keeps_no_id(door: Door) -> None:
    request = door.new(request_id="r", callable_name="")
    refused(lambda: door.call("Enqueue", request))
    request.callable_name = "c"

    assert not door.call("Enqueue", request).existing


def test_a_batch_repeated_answers_the_same(door: Door) -> None:
    batch = api.EnqueueBatchRequest(
        tenant_id=door.tenant, items=[door.new(input=f"{n}") for n in range(3)], request_id="r"
    )
    first = door.call("EnqueueBatch", batch)
    again = door.call("EnqueueBatch", batch)
    assert again.existing
    assert [one.execution for one in again.results] == [one.execution for one in first.results]
    batch.items.add(callable_name="another")
    status = refused(lambda: door.call("EnqueueBatch", batch))

    assert_refusal(status, "REQUEST_ID_REUSED")
    assert door.stats().ready == 3


def test_a_dedup_key_has_one_living_execution(door: Door) -> None:
    first = door.enqueue(dedup_key="k")
    same = door.call("Enqueue", door.new(dedup_key="k", input="other"))
    assert (same.existing, same.execution) == (True, first)
    reject = door.new(dedup_key="k", dedup_policy=api.DEDUP_POLICY_REJECT)
    assert_refusal(refused(lambda: door.call("Enqueue", reject)), "ALREADY_EXISTS")
    replace = door.new(dedup_key="k", dedup_policy=api.DEDUP_POLICY_REPLACE_QUEUED)
    replaced = door.call("Enqueue", replace)
    assert not replaced.existing
    old = door.get(first.execution_id)
    assert (old.status, old.reason) == (CANCELLED, records.END_REASON_REPLACED)
    [lease] = door.lease()
    leased = door.call("Enqueue", replace)
    assert (leased.existing, leased.execution.status) == (True, RUNNING)
    door.complete(lease)

    assert not door.call("Enqueue", reject).existing


def test_a_batch_is_all_or_none(door: Door) -> None:
    door.enqueue(dedup_key="k")
    before = door.everything()
    items = [door.new(), door.new(dedup_key="k", dedup_policy=api.DEDUP_POLICY_REJECT)]
    batch = api.EnqueueBatchRequest(tenant_id=door.tenant, items=items)

    assert_refusal(refused(lambda: door.call("EnqueueBatch", batch)), "ALREADY_EXISTS")
    assert door.everything() == before


def test_a_stream_answers_each_item_in_the_order_sent(door: Door) -> None:
    def messages() -> Iterator[api.EnqueueStreamRequest]:
        for start in range(0, 30, 10):
            items = [door.new(input=str(number)) for number in range(start, start + 10)]
            items[5].callable_name = ""
            yield api.EnqueueStreamRequest(items=items)

    responses = list(door.producer.EnqueueStream(messages(), timeout=TIMEOUT_S))
    outcomes = [outcome for response in responses for outcome in response.outcomes]

    assert len(outcomes) == 30
    for number, outcome in enumerate(outcomes):
        if number % 10 == 5:
            assert_refusal(outcome.status, "INVALID_ARGUMENT", "items[5].callable_name")
        else:
            assert door.get(outcome.result.execution_id).input == str(number)


def test_a_stream_of_an_empty_message_goes_on(door: Door) -> None:
    messages = [api.EnqueueStreamRequest(), api.EnqueueStreamRequest(items=[door.new()])]
    responses = list(door.producer.EnqueueStream(iter(messages), timeout=TIMEOUT_S))

    assert sum(len(response.outcomes) for response in responses) == 1


def test_a_run_waits_for_the_end(door: Door) -> None:
    run = door.producer.Run.future(api.RunRequest(enqueue=door.new(input="in")), timeout=TIMEOUT_S)
    poll = work.LeaseRequest(
        worker_id="w1", callables=["*"], tenant_ids=[door.tenant], wait_ms=20_000
    )
    [lease] = door.worker.Lease(poll, timeout=TIMEOUT_S).leases
    assert lease.execution.config.mode == records.BACKGROUND_EXECUTION_MODE_SILENT
    door.complete(lease, text("out"))
    answer = run.result()

    assert not answer.existing
    assert answer.execution.status == COMPLETED
    assert (answer.execution.input, answer.execution.output) == ("in", text("out"))


def test_a_run_answers_how_far_it_came_when_its_time_is_up(door: Door) -> None:
    mode = records.BACKGROUND_EXECUTION_MODE_DEFERRED
    request = door.new(config=records.BackgroundExecutionConfig(mode=mode), request_id="r")
    run = api.RunRequest(enqueue=request, timeout=NO_TIME)
    first, again = (door.call("Run", run) for _ in range(2))

    assert (first.existing, first.execution.status) == (False, QUEUED)
    assert first.execution.config.mode == mode
    assert (again.existing, again.execution) == (True, first.execution)


def wait(door: Door, ids: list[str], **fields: Any) -> api.WaitResponse:  # noqa: ANN401
    fields = {"timeout": NO_TIME} | fields
    request = api.WaitRequest(tenant_id=door.tenant, execution_ids=ids, **fields)
    return door.producer.Wait(request, timeout=TIMEOUT_S)


@pytest.mark.parametrize(
    ("ended", "wait_for", "count", "satisfied"),
    [
        (0, api.WAIT_FOR_ANY, 0, False),
        (1, api.WAIT_FOR_ANY, 0, True),
        (2, api.WAIT_FOR_ALL, 0, False),
        (3, api.WAIT_FOR_ALL, 0, True),
        (3, api.WAIT_FOR_UNSPECIFIED, 0, True),
        (2, api.WAIT_FOR_UNSPECIFIED, 0, False),
        (1, api.WAIT_FOR_COUNT, 2, False),
        (2, api.WAIT_FOR_COUNT, 2, True),
        (3, api.WAIT_FOR_COUNT, 1, True),
    ],
)
def test_a_wait_is_satisfied_by_as_many_ends_as_it_says(
    door: Door, ended: int, wait_for: api.WaitFor.ValueType, count: int, *, satisfied: bool
) -> None:
    made = [door.enqueue(input="in").execution_id for _ in range(3)]
    for lease in door.lease(ended) if ended else []:
        door.complete(lease, text("out"))
    answer = wait(door, made, wait_for=wait_for, count=count)

    assert answer.satisfied is satisfied
    shown = [outcome.execution for outcome in answer.outcomes]
    assert [record.execution_id for record in shown] == made
    assert [record.status == COMPLETED for record in shown] == [n < ended for n in range(3)]
    assert not any(record.HasField("input") or record.HasField("output") for record in shown)


def test_every_end_satisfies_a_wait(door: Door) -> None:
    for _ in range(3):
        door.enqueue()
    failed, _, cancelled = door.lease(3)
    ids = [failed.execution.execution_id, cancelled.execution.execution_id, UNKNOWN_ID]
    call = door.producer.Wait.future(
        api.WaitRequest(tenant_id=door.tenant, execution_ids=ids), timeout=TIMEOUT_S
    )
    failure = work.Failure(execution_id=ids[0], lease_token=failed.lease_token)
    failure.error.category = records.ERROR_CATEGORY_TOOL_ERROR
    door.call("Fail", work.FailRequest(failures=[failure]))
    door.call("Cancel", api.CancelRequest(tenant_id=door.tenant, execution_id=ids[1]))
    door.call("Release", work.ReleaseRequest(releases=[ref(cancelled)]))
    answer = call.result()

    assert answer.satisfied
    assert [one.execution.status for one in answer.outcomes] == [FAILED, CANCELLED, 0]
    assert_refusal(answer.outcomes[2].status, "EXECUTION_NOT_FOUND")


def test_the_deadline_of_the_call_ends_a_wait_no_sooner_than_its_timeout(door: Door) -> None:
    ids = [door.enqueue().execution_id]
    answer = wait(door, ids, timeout=Duration(nanos=20_000_000))

    assert not answer.satisfied
    assert answer.outcomes[0].execution.status == QUEUED


def test_a_released_execution_is_not_offered_to_the_same_worker_at_once(door: Door) -> None:
    lease = door.enqueue_and_lease()
    other = door.enqueue().execution_id
    [outcome] = door.call("Release", work.ReleaseRequest(releases=[ref(lease)])).outcomes
    assert outcome.result.status == QUEUED
    mine = [one.execution.execution_id for one in door.lease(9)]
    theirs = [one.execution.execution_id for one in door.lease(9, worker="w2")]

    assert (mine, theirs) == ([other], [lease.execution.execution_id])


def test_leases_are_of_what_a_worker_offers(door: Door) -> None:
    made = {}
    for name in ("mail", "mail.send", "mail.send.bulk", "mailer"):
        made[door.enqueue(callable_name=name).execution_id] = name
    taken = [
        [made[one.execution.execution_id] for one in door.lease(9, callables=offer)]
        for offer in (["none", "ma"], ["mail.*"], ["mail"], ["*"])
    ]

    assert taken == [[], ["mail.send", "mail.send.bulk"], ["mail"], ["mailer"]]


def test_counts_are_by_callable_and_by_where_they_stand(door: Door) -> None:
    door.enqueue(callable_name="b")
    first = door.enqueue(callable_name="a")
    later = door.new(callable_name="a")
    later.not_before.FromSeconds(4_000_000_000)
    door.call("Enqueue", later)
    door.lease(callables=["b"])
    stats = door.stats()

    assert (stats.ready, stats.pending, stats.retrying, stats.running) == (1, 1, 0, 1)
    assert stats.oldest_queued_at == first.queued_at
    shown = [(one.callable_name, one.ready, one.pending, one.running) for one in stats.callables]
    assert shown == [("a", 1, 1, 0), ("b", 0, 0, 1)]


def test_a_tenant_without_anything_has_counts_of_nothing(door: Door) -> None:
    assert door.stats() == api.GetQueueStatsResponse()
    assert door.call("Peek", api.PeekRequest(tenant_id=door.tenant)) == api.PeekResponse()
    assert door.call("List", api.ListRequest(tenant_id=door.tenant)) == api.ListResponse()
