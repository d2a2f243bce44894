"""The `Work` stream: the order of its messages, and their contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import KIB, MIB, UNKNOWN_ID, Door, ref, text
from tests.conformance.refusals import assert_refusal, refused
from tests.conformance.stream import WorkStream

if TYPE_CHECKING:
    from google.protobuf.message import Message

REF = work.LeaseRef(execution_id="x", lease_token="x")  # noqa: S106


def hello_of_lanes(*lanes: list[str]) -> work.WorkHello:
    groups = [work.WorkLane(callables=names) for names in lanes]
    return work.WorkHello(worker_id="w", lanes=groups)


BAD_FIRST = [
    ("hello", work.WorkHello(callables=["*"]), "hello.worker_id"),
    ("hello", work.WorkHello(worker_id="w w", callables=["*"]), "hello.worker_id"),
    ("hello", work.WorkHello(worker_id="w"), "hello.callables"),
    ("hello", work.WorkHello(worker_id="w", callables=["a", "b*"]), "hello.callables[1]"),
    ("hello", work.WorkHello(worker_id="w", callables=["a"] * 1001), "hello.callables"),
    ("hello", work.WorkHello(worker_id="w", callables=["*"], tenant_ids=["a", ""]),
     "hello.tenant_ids[1]"),
    ("hello", work.WorkHello(worker_id="w", callables=["*"], lease_duration_ms=999),
     "hello.lease_duration_ms"),
    ("hello", work.WorkHello(worker_id="w", callables=["*"], lease_duration_ms=3_600_001),
     "hello.lease_duration_ms"),
    ("hello", work.WorkHello(worker_id="w", callables=["*"], held=[REF]),
     "hello.held[0].execution_id"),
    ("hello", hello_of_lanes([]), "hello.lanes[0].callables"),
    ("hello", hello_of_lanes(["a"], ["b", "c*"]), "hello.lanes[1].callables[1]"),
    ("hello", hello_of_lanes(["a"], ["b", "a"]), "hello.lanes"),
    ("hello", hello_of_lanes(*[["a"]] * 5001), "hello.lanes"),
    ("credit", work.WorkCredit(executions=1), "hello"),
    ("acknowledge", work.WorkAcknowledge(), "hello"),
    ("heartbeat", work.WorkHeartbeat(), "hello"),
    ("complete", work.CompleteRequest(results=[work.CompleteResult()]), "hello"),
    ("release", work.ReleaseRequest(releases=[work.LeaseRef()]), "hello"),
    ("drain", work.WorkDrain(), "hello"),
]  # fmt: skip
BAD_NEXT = [
    ("hello", work.WorkHello(worker_id="w1", callables=["*"]), "hello"),
    ("acknowledge", work.WorkAcknowledge(leases=[REF]), "acknowledge.leases[0].execution_id"),
    ("acknowledge", work.WorkAcknowledge(leases=[REF] * 1001), "acknowledge.leases"),
    ("credit", work.WorkCredit(lane=1, executions=1), "credit.lane"),
    ("complete", work.CompleteRequest(), "complete.results"),
    ("complete", work.CompleteRequest(results=[work.CompleteResult()] * 1001), "complete.results"),
    ("fail", work.FailRequest(), "fail.failures"),
    ("release", work.ReleaseRequest(), "release.releases"),
]


@pytest.mark.parametrize(("kind", "message", "field"), BAD_FIRST)
def test_a_stream_begins_with_a_good_hello(
    door: Door, kind: str, message: Message, field: str
) -> None:
    with WorkStream(door) as stream:
        stream.say(**{kind: message})
        assert_refusal(refused(stream.rest), "INVALID_ARGUMENT", field)
    assert door.enqueue_and_lease().lease_token


@pytest.mark.parametrize(("kind", "message", "field"), BAD_NEXT)
def test_a_message_that_breaks_a_rule_ends_the_stream(
    door: Door, kind: str, message: Message, field: str
) -> None:
    with WorkStream(door) as stream:
        stream.hello()
        stream.say(**{kind: message})
        assert_refusal(refused(stream.rest), "INVALID_ARGUMENT", field)
    assert door.enqueue_and_lease().lease_token


def test_a_message_without_content_ends_the_stream(door: Door) -> None:
    with WorkStream(door) as stream:
        stream.hello()
        stream.say()
        assert_refusal(refused(stream.rest), "INVALID_ARGUMENT", "message")
    assert door.enqueue_and_lease().lease_token


def test_a_stream_ends_well_once_its_client_said_all(door: Door) -> None:
    with WorkStream(door) as stream:
        stream.hello()
        stream.half_close()

        assert stream.rest() == []


def test_a_welcome_tells_the_period_and_the_version(door: Door) -> None:
    with WorkStream(door) as stream:
        welcome = stream.hello()

    assert welcome.lease_duration_ms == 30_000
    assert welcome.server_version
    assert not welcome.held


def test_leases_come_as_credit_allows_and_results_go_up(door: Door) -> None:
    made = [door.enqueue(input=str(n)).execution_id for n in range(5)]
    with WorkStream(door) as stream:
        stream.hello(credit=2)
        first = stream.leases(2)
        assert [lease.execution.execution_id for lease in first] == made[:2]
        assert [lease.execution.input for lease in first] == ["0", "1"]
        stream.say(acknowledge=work.WorkAcknowledge(leases=map(ref, first)))
        assert door.stats().running == 2
        stream.say(complete=results(first[0], "x"))
        [outcome] = stream.hear("outcomes").outcomes
        assert outcome.result.status == records.BACKGROUND_EXECUTION_STATUS_COMPLETED
        stream.say(credit=work.WorkCredit(executions=9))
        assert len(stream.leases(3)) == 3
    assert door.get(made[0]).output == text("x")


def test_each_lane_gets_leases_for_its_own_credit(door: Door) -> None:
    for name in ("slow", "fast", "slow", "fast"):
        door.enqueue(callable_name=name)
    with WorkStream(door) as stream:
        hello = hello_of_lanes(["slow"], ["fast"])
        hello.tenant_ids[:] = [door.tenant]
        stream.say(hello=hello)
        stream.hear("welcome")
        stream.say(credit=work.WorkCredit(lane=2, executions=1))
        [fast] = stream.leases(1)
        stream.say(credit=work.WorkCredit(lane=1, executions=5))
        slow = stream.leases(2)
    assert (fast.lane, fast.execution.callable_name) == (2, "fast")
    told = [(lease.lane, lease.execution.callable_name) for lease in slow]
    assert told == [(1, "slow"), (1, "slow")]


def test_a_lease_ahead_of_a_slot_is_marked_and_can_be_completed_or_released(door: Door) -> None:
    for _ in range(3):
        door.enqueue()
    with WorkStream(door) as stream:
        stream.hello(credit=1)
        [first] = stream.leases(1)
        stream.say(credit=work.WorkCredit(prefetch=2))
        ahead = stream.leases(2)
        assert [lease.prefetched for lease in (first, *ahead)] == [False, True, True]
        stream.say(complete=results(ahead[0], "x"))
        stream.say(release=work.ReleaseRequest(releases=[ref(ahead[1])]))
        outcomes = [stream.hear("outcomes").outcomes[0].result.status for _ in range(2)]
    assert outcomes == [
        records.BACKGROUND_EXECUTION_STATUS_COMPLETED,
        records.BACKGROUND_EXECUTION_STATUS_QUEUED,
    ]


def test_what_may_be_lost_only_once_is_not_sent_ahead_of_a_slot(door: Door) -> None:
    once = door.enqueue(max_worker_losses=1)
    door.enqueue()
    with WorkStream(door) as stream:
        stream.hello()
        stream.say(credit=work.WorkCredit(prefetch=2))
        stream.say(credit=work.WorkCredit(executions=1))
        [first] = stream.leases(1)
        [second] = stream.leases(1)
    assert first.execution.execution_id == once.execution_id
    assert (first.prefetched, second.prefetched) == (False, True)


def results(lease: work.Lease, output: str) -> work.CompleteRequest:
    result = work.CompleteResult(
        execution_id=lease.execution.execution_id,
        lease_token=lease.lease_token,
        output=text(output),
    )
    return work.CompleteRequest(results=[result])


def test_bytes_of_credit_never_skip_the_best(door: Door) -> None:
    best = door.enqueue(**priority_of(90), input="x" * (64 * KIB))
    door.enqueue(input="small")
    with WorkStream(door) as stream:
        stream.hello(credit=10, size=1)
        [lease] = stream.leases(1)
        assert lease.execution.execution_id == best.execution_id
        assert door.stats().ready == 1
        stream.say(credit=work.WorkCredit(executions=1, bytes=KIB))
        assert stream.leases(1)[0].execution.input == "small"


def priority_of(number: int) -> dict[str, object]:
    return {"config": records.BackgroundExecutionConfig(priority=number)}


def test_each_message_of_reports_has_its_outcomes_in_order(door: Door) -> None:
    for _ in range(3):
        door.enqueue()
    with WorkStream(door) as stream:
        stream.hello(credit=3)
        completed, failed, released = stream.leases(3)
        stream.say(complete=results(completed, "x"))
        failure = work.Failure(
            execution_id=failed.execution.execution_id, lease_token=failed.lease_token
        )
        failure.error.category = records.ERROR_CATEGORY_TOOL_ERROR
        stream.say(fail=work.FailRequest(failures=[failure]))
        stream.say(release=work.ReleaseRequest(releases=[REF, ref(released)]))
        first, second, third = (stream.hear("outcomes").outcomes for _ in range(3))

    assert first[0].result.status == records.BACKGROUND_EXECUTION_STATUS_COMPLETED
    assert second[0].result.status == records.BACKGROUND_EXECUTION_STATUS_FAILED
    assert_refusal(third[0].status, "INVALID_ARGUMENT", "releases[0].execution_id")
    assert third[1].result.status == records.BACKGROUND_EXECUTION_STATUS_QUEUED


def test_a_cancel_is_told_on_the_stream_at_once(door: Door) -> None:
    execution_id = door.enqueue().execution_id
    with WorkStream(door) as stream:
        stream.hello(credit=1)
        [lease] = stream.leases(1)
        answer = door.call("Cancel", cancel_of(door, execution_id))
        assert answer.execution.cancel_requested
        assert list(stream.hear("cancels").leases) == [ref(lease)]
        stream.say(release=work.ReleaseRequest(releases=[ref(lease)]))
        [outcome] = stream.hear("outcomes").outcomes

    assert outcome.result.status == records.BACKGROUND_EXECUTION_STATUS_CANCELLED


def cancel_of(door: Door, execution_id: str) -> api.CancelRequest:
    return api.CancelRequest(tenant_id=door.tenant, execution_id=execution_id)


def test_a_drained_stream_gets_no_more_and_may_finish(door: Door) -> None:
    door.enqueue()
    with WorkStream(door) as stream:
        stream.hello(credit=9)
        [lease] = stream.leases(1)
        stream.say(drain=work.WorkDrain())
        stream.say(complete=results(lease, "x"))
        stream.hear("outcomes")
        later = door.enqueue().execution_id
        assert door.lease(worker="w2")[0].execution.execution_id == later
        stream.half_close()

        assert stream.rest() == []


def test_a_worker_that_reconnects_goes_on_with_what_it_holds(door: Door) -> None:
    door.enqueue()
    with WorkStream(door) as stream:
        stream.hello(credit=1)
        [lease] = stream.leases(1)
        stale = work.Lease(lease_token="lt_1_1")  # noqa: S106
        stale.execution.execution_id = UNKNOWN_ID
    with WorkStream(door) as stream:
        welcome = stream.hello(held=[stale, lease])
        assert list(welcome.held) == [ref(lease)]
        door.call("Cancel", cancel_of(door, lease.execution.execution_id))
        assert list(stream.hear("cancels").leases) == [ref(lease)]
        stream.say(complete=results(lease, "x"))
        [outcome] = stream.hear("outcomes").outcomes

    assert outcome.result.status == records.BACKGROUND_EXECUTION_STATUS_COMPLETED


def test_a_cancel_while_the_worker_was_away_is_told_when_it_is_back(door: Door) -> None:
    door.enqueue()
    with WorkStream(door) as stream:
        stream.hello(credit=1)
        [lease] = stream.leases(1)
    door.call("Cancel", cancel_of(door, lease.execution.execution_id))
    with WorkStream(door) as stream:
        assert list(stream.hello(held=[lease]).held) == [ref(lease)]

        assert list(stream.hear("cancels").leases) == [ref(lease)]


def test_work_and_lease_drain_one_order(door: Door) -> None:
    priorities = [10, 90, 50, 50, 0, 255, 90, 50]
    made = [(door.enqueue(**priority_of(p)).execution_id, p) for p in priorities]
    order = [name for name, _ in sorted(made, key=lambda one: -one[1])]
    peeked = door.call("Peek", api.PeekRequest(tenant_id=door.tenant)).executions
    assert [record.execution_id for record in peeked] == order
    taken = []
    with WorkStream(door) as stream:
        stream.hello()
        for _ in range(4):
            stream.say(credit=work.WorkCredit(executions=1))
            taken += stream.leases(1)
            taken += door.lease(worker="w2")

    assert [lease.execution.execution_id for lease in taken] == order


def test_a_large_record_comes_over_a_stream_whole(door: Door) -> None:
    for _ in range(4):
        door.enqueue(input="x" * MIB)
    with WorkStream(door) as stream:
        stream.hello(credit=4)

        assert {len(lease.execution.input) for lease in stream.leases(4)} == {MIB}
