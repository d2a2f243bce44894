"""The lifecycle of an execution as clients see it, on the machine's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import CHANNEL_OPTIONS, TIMEOUT_S, Door, encoded, new_tenant, ref, text
from tests.conformance.refusals import assert_refusal, refused

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartServer

Config = records.BackgroundExecutionConfig
COMPLETED = records.BACKGROUND_EXECUTION_STATUS_COMPLETED


def test_an_empty_config_means_the_defaults(door: Door) -> None:
    config = door.enqueue(config=Config()).config

    assert config.mode == records.BACKGROUND_EXECUTION_MODE_FIRE_AND_FORGET
    assert (config.priority, config.timeout_ms) == (50, 300_000)
    assert not config.HasField("retry")
    assert not config.HasField("target_binding")
    assert not config.HasField("callback_url")


def test_an_empty_retry_means_its_defaults(door: Door) -> None:
    retry = door.enqueue(config=Config(retry=records.RetryConfig())).config.retry

    assert retry == records.RetryConfig(
        max_attempts=3,
        strategy=records.RETRY_STRATEGY_EXPONENTIAL,
        initial_delay_ms=1000,
        backoff_multiplier=2.0,
        max_delay_ms=60_000,
        jitter=True,
    )


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_every_mode_is_kept(door: Door, mode: records.BackgroundExecutionMode.ValueType) -> None:
    made = door.enqueue(config=Config(mode=mode))

    assert made.config.mode == mode


def test_a_new_execution_stands_at_its_beginning(door: Door) -> None:
    made = door.enqueue(input="in", context={"k": "v"})

    assert made.status == records.BACKGROUND_EXECUTION_STATUS_QUEUED
    assert (made.attempt, made.version, made.max_worker_losses) == (0, 1, 3)
    assert made.updated_at == made.queued_at
    assert not made.target_binding_applied
    absent = {"started_at", "completed_at", "output", "error", "actor", "worker_id", "trigger_id"}
    assert not absent & {field.name for field, _ in made.ListFields()}


def test_queued_running_completed(door: Door) -> None:
    made = door.enqueue(input="in")
    [lease] = door.lease(worker="w9")
    running = lease.execution
    assert running.status == records.BACKGROUND_EXECUTION_STATUS_RUNNING
    assert (running.attempt, running.version, running.worker_id) == (1, 2, "w9")
    assert door.get(made.execution_id) == running
    outcome = door.complete(lease, text("out"))
    ended = door.get(made.execution_id)

    assert outcome.result.status == ended.status == COMPLETED
    assert ended.output == text("out")
    assert ended.reason == records.END_REASON_COMPLETED
    assert (ended.actor.kind, ended.actor.id) == (records.ACTOR_KIND_WORKER, "w9")
    assert ended.completed_at.ToNanoseconds() >= ended.started_at.ToNanoseconds()
    assert ended.started_at.ToNanoseconds() >= ended.queued_at.ToNanoseconds()
    assert (ended.version, ended.updated_at) == (3, ended.completed_at)


def test_a_lease_says_when_it_ends(door: Door) -> None:
    made = door.enqueue(config=Config(timeout_ms=7_000))
    [lease] = door.lease(lease_duration_ms=5_000)
    started_ms = lease.execution.started_at.ToMilliseconds()

    assert lease.lease_expires_at.ToMilliseconds() == started_ms + 5_000
    assert lease.attempt_deadline.ToMilliseconds() == started_ms + 7_000
    assert lease.execution.execution_id == made.execution_id
    assert 0 < lease.lease_remaining_ms <= 5_000
    assert lease.attempt_remaining_ms - lease.lease_remaining_ms == 2_000


def test_a_renewal_says_when_the_lease_ends(door: Door) -> None:
    door.enqueue(config=Config(timeout_ms=90_000))
    [lease] = door.lease(lease_duration_ms=5_000)
    request = work.RenewLeasesRequest(leases=[ref(lease)], lease_duration_ms=60_000)
    [outcome] = door.call("RenewLeases", request).outcomes

    assert 5_000 < outcome.result.lease_remaining_ms <= 60_000
    assert 0 < outcome.result.attempt_remaining_ms <= lease.attempt_remaining_ms


def test_times_beyond_the_calendar_are_shown_as_its_last(door: Door) -> None:
    longest = 2**64 - 1
    retry = records.RetryConfig(initial_delay_ms=longest, max_delay_ms=longest)
    made = door.enqueue(config=Config(timeout_ms=longest, retry=retry))
    [lease] = door.lease()
    failure = work.Failure(execution_id=made.execution_id, lease_token=lease.lease_token)
    failure.error.category = records.ERROR_CATEGORY_TOOL_ERROR
    door.call("Fail", work.FailRequest(failures=[failure]))
    waiting = door.get(made.execution_id)

    assert lease.attempt_remaining_ms > 2**63
    for at in (lease.attempt_deadline, waiting.next_attempt_at):
        assert at.ToJsonString() == "9999-12-31T23:59:59.999Z"


def test_higher_priorities_leave_first_and_equal_ones_in_order(door: Door) -> None:
    names = {}
    for name, priority in (("low", 10), ("a", 50), ("high", 90), ("b", 50), ("zero", 0)):
        names[door.enqueue(config=Config(priority=priority)).execution_id] = name
    order = [names[lease.execution.execution_id] for lease in door.lease(10)]

    assert order == ["high", "a", "b", "low", "zero"]


def test_a_finished_record_never_changes(door: Door) -> None:
    lease = door.enqueue_and_lease()
    execution_id = lease.execution.execution_id
    door.complete(lease, text("out"))
    before = encoded(door.get(execution_id))
    door.complete(lease, text("out"))
    door.complete(lease, text("another"))
    held = ref(lease)
    failure = work.Failure(execution_id=execution_id, lease_token=held.lease_token)
    failure.error.category = records.ERROR_CATEGORY_TIMEOUT
    for name, request in (
        ("Fail", work.FailRequest(failures=[failure])),
        ("Release", work.ReleaseRequest(releases=[held])),
        ("RenewLeases", work.RenewLeasesRequest(leases=[held])),
    ):
        [outcome] = door.call(name, request).outcomes
        assert_refusal(outcome.status, "LEASE_LOST")

    assert encoded(door.get(execution_id)) == before


def test_a_repeated_completion_is_answered_and_the_first_output_stays(door: Door) -> None:
    lease = door.enqueue_and_lease()
    first, second = (door.complete(lease, text(f"{n}")) for n in range(2))

    assert first == second
    assert door.get(lease.execution.execution_id).output == text("0")


def test_pages_list_all_newest_first(door: Door) -> None:
    made = [door.enqueue().execution_id for _ in range(7)]
    door.complete(door.lease()[0])
    listed, token, pages = [], "", 0
    while pages == 0 or token:
        request = api.ListRequest(tenant_id=door.tenant, page_size=3, page_token=token)
        page = door.call("List", request)
        listed += [record.execution_id for record in page.executions]
        token, pages = page.next_page_token, pages + 1

    assert (listed, pages) == (made[::-1], 3)


def test_a_list_is_of_one_status(door: Door) -> None:
    made = [door.enqueue(input="in").execution_id for _ in range(4)]
    door.complete(door.lease()[0])
    door.lease()
    door.call("Cancel", api.CancelRequest(tenant_id=door.tenant, execution_id=made[2]))
    found = {}
    for status in range(1, 7):
        request = api.ListRequest(tenant_id=door.tenant, status=status)  # type: ignore[arg-type]
        found[status] = [one.execution_id for one in door.call("List", request).executions]

    assert found == {1: [made[3]], 2: [made[1]], 3: [made[0]], 4: [], 5: [made[2]], 6: []}


@pytest.mark.parametrize("view", [records.VIEW_BASIC, records.VIEW_FULL])
def test_a_view_says_how_much_is_shown(door: Door, view: records.View.ValueType) -> None:
    made = door.enqueue(input="in", context={"k": "v"}, metadata={"k": text("v")})
    door.complete(door.lease()[0], text("out"))
    get = api.GetRequest(tenant_id=door.tenant, execution_id=made.execution_id, view=view)
    shown = door.call("Get", get).execution
    [listed] = door.call("List", api.ListRequest(tenant_id=door.tenant, view=view)).executions

    assert listed == shown
    large = {"input", "context", "metadata", "output"}
    there = {field.name for field, _ in shown.ListFields()} & large
    assert there == (large if view == records.VIEW_FULL else set())


def test_a_restart_forgets_nothing(own_server: StartServer, tmp_path: Path) -> None:
    server = own_server(tmp_path / "data")
    tenant = new_tenant()
    with grpc.insecure_channel(server.target, options=CHANNEL_OPTIONS) as channel:
        door = Door(channel, tenant)
        finished = door.enqueue_and_lease()
        door.complete(finished, text("out"))
        held = door.enqueue_and_lease(request_id="r", input="in")
        queued = [door.enqueue(dedup_key="d").execution_id, door.enqueue().execution_id]
        records_before = encoded(door.get(finished.execution.execution_id))
        before = door.everything()
    server.kill()
    server.restart()
    with grpc.insecure_channel(server.target, options=CHANNEL_OPTIONS) as channel:
        door = Door(channel, tenant)
        assert door.everything() == before
        assert encoded(door.get(finished.execution.execution_id)) == records_before
        again = door.producer.Enqueue(door.new(request_id="r", input="in"), timeout=TIMEOUT_S)
        assert (again.existing, again.execution) == (True, held.execution)
        other = door.new(request_id="r", input="other")
        assert_refusal(refused(lambda: door.call("Enqueue", other)), "REQUEST_ID_REUSED")
        same = door.producer.Enqueue(door.new(dedup_key="d"), timeout=TIMEOUT_S)
        assert (same.existing, same.execution.execution_id) == (True, queued[0])
        assert door.complete(held).HasField("result")
        leased = [lease.execution.execution_id for lease in door.lease(9)]

    assert leased == queued
