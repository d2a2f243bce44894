"""What both clients promise of their calls, against a real server."""

from __future__ import annotations

import datetime as dt
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from backlane import BackgroundExecution, Client, Failure, RawInput, Retry, Worker, errors
from tests.conformance.door import UNKNOWN_ID, new_tenant
from tests.integration.client_kinds import KINDS, PATIENCE_S, open_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import ServerProcess


@pytest.fixture
def tenant() -> str:
    """A tenant that nobody else uses."""
    return new_tenant()


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client of either kind, for a tenant of its own."""
    with open_client(request.param, server.target, tenant, call_timeout=PATIENCE_S) as opened:
        yield opened


@pytest.fixture
def worker(server: ServerProcess, tenant: str) -> Worker:
    """A worker of that tenant, which offers what the tests need."""
    made = Worker(target=server.target, tenants=tenant)

    @made.callable
    def double(number: int) -> int:
        return 2 * number

    @made.callable
    def fail(message: str) -> None:
        raise Failure(message, category="network_error", code="DOWN")

    return made


def order_of(handles: list[Any]) -> list[str]:
    """The ids, which sort as the executions were born."""
    return [handle.execution_id for handle in handles]


def test_an_enqueue_is_there_with_all_its_options(client: Client, tenant: str) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    handle = client.enqueue(
        "mail.send",
        {"to": ["ada"]},
        mode="deferred",
        priority=0,
        timeout=timedelta(seconds=1.5),
        retry=Retry(max_attempts=5, retry_on=["network_error"]),
        not_before=soon,
        deadline=soon + timedelta(hours=1),
        context={"locale": "en"},
        metadata={"order": {"id": 7}},
        max_worker_losses=1,
        dedup_key="mail:ada",
    )

    record = handle.get()
    config = record.proto.config
    assert record.execution_id == handle.execution_id
    assert (record.tenant_id, record.callable_name) == (tenant, "mail.send")
    assert (record.status, record.mode, record.priority) == ("queued", "deferred", 0)
    assert (record.input, record.not_before) == ('{"to":["ada"]}', soon)
    assert (record.context, record.metadata) == ({"locale": "en"}, {"order": {"id": 7}})
    assert (config.timeout_ms, config.retry.max_attempts) == (1500, 5)
    assert (record.proto.max_worker_losses, record.proto.dedup_key) == (1, "mail:ada")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((), None),
        ((None,), "null"),
        (("a",), '"a"'),
        (("NaN",), '"NaN"'),
        ((RawInput("<a>"),), "<a>"),
    ],
)
def test_an_input_is_sent_as_json_unless_it_is_raw(
    client: Client, given: tuple[Any, ...], text: str | None
) -> None:
    assert client.enqueue("x", *given).get().input == text


def test_a_delay_starts_now(client: Client) -> None:
    before = datetime.now(UTC)

    not_before = client.enqueue("x", delay=60).get().not_before

    assert not_before is not None
    assert timedelta(seconds=59) < not_before - before < timedelta(seconds=90)


def test_a_repeated_request_with_a_delay_is_the_same_request(client: Client) -> None:
    first = client.enqueue("x", delay=60, request_id="later")
    again = client.enqueue("x", delay=60, request_id="later")

    assert (first.existing, again.existing) == (False, True)
    assert again.get() == first.get()


def test_the_same_request_id_means_the_same_execution(client: Client) -> None:
    first = client.enqueue("x", 1, request_id="order-7")
    again = client.enqueue("x", 1, request_id="order-7")

    assert (first.existing, again.existing) == (False, True)
    assert again.execution_id == first.execution_id


def test_the_order_of_keys_is_no_difference(client: Client) -> None:
    first = client.enqueue("x", {"b": [{"d": 1, "c": 2}], "a": 3}, request_id="order-7")
    again = client.enqueue("x", {"a": 3, "b": [{"c": 2, "d": 1}]}, request_id="order-7")

    assert (again.execution_id, again.existing) == (first.execution_id, True)


def test_a_handle_by_id_has_the_type_of_its_callable(
    client: Client, tenant: str, server: ServerProcess
) -> None:
    worker = Worker(target=server.target, tenants=tenant)

    @worker.callable
    def today() -> dt.date:
        return dt.date(2026, 1, 2)

    with worker.running():
        made = client.enqueue(today)
        assert made.result(PATIENCE_S) == dt.date(2026, 1, 2)

    assert client.handle(made.execution_id, today).result(PATIENCE_S) == dt.date(2026, 1, 2)
    assert client.handle(made.execution_id).result(PATIENCE_S) == "2026-01-02"
    assert client.handle(made.execution_id, "today").result(PATIENCE_S) == "2026-01-02"


def test_a_request_id_for_another_body_is_refused(client: Client) -> None:
    client.enqueue("x", 1, request_id="order-7")

    with pytest.raises(errors.RequestIdReusedError) as refused:
        client.enqueue("x", 2, request_id="order-7")

    assert refused.value.request_id == "order-7"


def test_a_key_that_is_taken_is_refused_if_told_so(client: Client) -> None:
    held = client.enqueue("x", dedup_key="k")

    with pytest.raises(errors.AlreadyExistsError) as refused:
        client.enqueue("x", dedup_key="k", dedup_policy="reject")

    assert refused.value.execution_id == held.execution_id


def test_many_are_made_in_the_order_of_their_inputs(client: Client) -> None:
    handles = client.enqueue_many("x", range(1500))

    assert order_of(handles) == sorted(set(order_of(handles)))
    assert [handles[place].get().input for place in (0, 499, 500, 1499)] == [
        "0",
        "499",
        "500",
        "1499",
    ]


def test_many_large_ones_keep_their_order_where_they_wait_for_room(client: Client) -> None:
    handles = client.enqueue_many("x", itertools.repeat("y" * 100_000, 400))

    assert order_of(handles) == sorted(order_of(handles))


def test_many_with_a_request_id_can_be_repeated(client: Client) -> None:
    first = client.enqueue_many("x", [1, 2], request_id="import")
    again = client.enqueue_many("x", [1, 2, 3], request_id="import")

    assert [handle.existing for handle in again] == [True, True, False]
    assert order_of(again)[:2] == order_of(first)


def test_a_run_returns_the_output(client: Client, worker: Worker) -> None:
    with worker.running():
        assert client.run("double", 21) == 42
        assert client.enqueue("double", 4).result(PATIENCE_S) == 8


def test_a_callable_brings_its_name_its_defaults_and_its_types(
    client: Client, worker: Worker
) -> None:
    @worker.callable(name="days", priority=90, timeout=5)
    def days(until: datetime) -> timedelta:
        return until - datetime(2026, 1, 1, tzinfo=UTC)

    handle = client.enqueue(days, datetime(2026, 1, 3, tzinfo=UTC), timeout=7)
    config = handle.get().proto.config

    assert (config.priority, config.timeout_ms) == (90, 7000)
    with worker.running():
        assert handle.result(PATIENCE_S) == timedelta(days=2)
        assert client.run(days, datetime(2026, 1, 2, tzinfo=UTC)) == timedelta(days=1)


def test_a_run_is_silent_unless_told(client: Client) -> None:
    with pytest.raises(errors.NotFinishedError):
        client.run("x", wait_timeout=0)
    with pytest.raises(errors.NotFinishedError):
        client.run("x", wait_timeout=0, mode="fire_and_forget")

    modes = [record.mode for record in client.list()]
    assert modes == ["fire_and_forget", "silent"]


def test_a_result_that_is_not_there_in_time_says_where_it_stands(client: Client) -> None:
    handle = client.enqueue("nobody.offers.it")

    with pytest.raises(TimeoutError, match=r"still queued after 0\.05 s: no worker has") as late:
        handle.result(timeout=0.05)

    assert isinstance(late.value, errors.NotFinishedError)
    assert (late.value.execution_id, late.value.status) == (handle.execution_id, "queued")


def test_an_end_without_a_result_is_an_exception_with_the_record(
    client: Client, worker: Worker
) -> None:
    with worker.running(), pytest.raises(errors.ExecutionFailedError) as failed:
        client.run("fail", "no route")
    waiting = client.enqueue("x")
    waiting.cancel()
    with pytest.raises(errors.ExecutionCancelledError) as cancelled:
        waiting.result(PATIENCE_S)
    overdue = client.enqueue("x", start_deadline=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(errors.ExecutionTimedOutError) as timed_out:
        overdue.result(PATIENCE_S)

    error = failed.value.execution.error
    assert error is not None
    assert (error.category, error.code, error.message) == ("network_error", "DOWN", "no route")
    assert str(failed.value).endswith("ended failed: network_error DOWN: no route")
    assert cancelled.value.execution.reason == "cancel_requested"
    assert timed_out.value.execution.reason == "start_deadline"


def test_a_wait_is_over_when_all_any_or_so_many_have_ended(client: Client) -> None:
    handles = client.enqueue_many("x", range(3))
    ids = order_of(handles)

    none = client.wait(ids, until="any", timeout=0)
    client.cancel(ids[1])
    one = client.wait(ids, until="any", timeout=PATIENCE_S)
    two = client.wait(ids, until=2, timeout=0.05)
    client.cancel(ids[0])
    client.cancel(handles[2].execution_id)
    every = client.wait(handles, timeout=PATIENCE_S)

    assert [wait.satisfied for wait in (none, one, two, every)] == [False, True, False, True]
    assert [record.execution_id for record in one.finished] == [ids[1]]
    assert [record.status for record in every.finished] == ["cancelled"] * 3


def test_a_wait_answers_in_the_order_in_which_it_was_asked(client: Client) -> None:
    first, second = client.enqueue("x"), client.enqueue("x")

    answer = client.wait([second, first, second], timeout=0)

    assert order_of([*answer.outcomes]) == order_of([second, first, second])
    with pytest.raises(TypeError, match="executions must be a list of handles or ids"):
        client.wait(first.execution_id)


def test_a_wait_for_all_takes_more_than_one_call_can(client: Client) -> None:
    handles = client.enqueue_many("x", range(1001))

    answer = client.wait(handles, timeout=0)

    assert order_of([*answer.outcomes]) == order_of(handles)
    assert answer.satisfied is False


def test_a_wait_tells_an_unknown_id_beside_the_others(client: Client) -> None:
    known = client.enqueue("x")

    answer = client.wait([UNKNOWN_ID, known], until="any", timeout=PATIENCE_S)

    unknown, waiting = answer.outcomes
    assert answer.errors == [unknown]
    assert isinstance(unknown, errors.ExecutionNotFoundError)
    assert isinstance(waiting, BackgroundExecution)
    assert waiting.execution_id == known.execution_id


def test_a_cancel_of_what_has_ended_is_refused(client: Client) -> None:
    handle = client.enqueue("x")
    assert handle.cancel().status == "cancelled"

    with pytest.raises(errors.TransitionNotAllowedError) as refused:
        handle.cancel()

    assert refused.value.status == "cancelled"


def test_a_list_is_newest_first_as_far_as_asked(client: Client) -> None:
    ids = order_of(client.enqueue_many("x", range(5)))
    client.cancel(ids[2])

    def listed(**options: Any) -> list[str]:  # noqa: ANN401  # those of the call
        return [record.execution_id for record in client.list(**options)]

    assert listed() == ids[::-1]
    assert listed(limit=2) == [ids[4], ids[3]]
    assert listed(limit=0) == []
    assert listed(status="cancelled") == [ids[2]]
    assert [record.input for record in client.list(limit=1)] == [None]
    assert [record.input for record in client.list(limit=1, full=True)] == ["4"]


def test_a_list_goes_on_over_pages(client: Client) -> None:
    ids = order_of(client.enqueue_many("x", range(1200)))

    assert [record.execution_id for record in client.list()] == ids[::-1]
    assert [record.execution_id for record in client.list(limit=1100)] == ids[::-1][:1100]


def test_a_peek_shows_the_order_and_the_counts_are_right(client: Client) -> None:
    low = client.enqueue("x", priority=1)
    high = client.enqueue("y", priority=9)
    client.enqueue("x", delay=60)

    peeked = [record.execution_id for record in client.peek()]
    stats = client.stats()
    assert peeked == [high.execution_id, low.execution_id]
    assert [record.execution_id for record in client.peek(callables=["x"])] == [low.execution_id]
    assert (stats.ready, stats.pending, stats.retrying, stats.running) == (2, 1, 0, 0)
    assert (stats.callables["x"].ready, stats.callables["x"].pending) == (1, 1)
    assert stats.oldest_queued_at == low.get().queued_at


def test_a_handle_by_id_leads_to_the_execution(client: Client) -> None:
    made = client.enqueue("x", 7)

    handle = client.handle(made.execution_id)

    assert handle.get().input == "7"
    assert handle.cancel().status == "cancelled"


def test_a_client_that_is_closed_says_so(server: ServerProcess, tenant: str) -> None:
    for kind in KINDS:
        with open_client(kind, server.target, tenant) as client:
            client.enqueue("x")
            client.close()
            with pytest.raises(errors.CallCancelledError, match="this client is closed"):
                client.enqueue("x")
            with pytest.raises(errors.CallCancelledError, match="this client is closed"):
                client.get(UNKNOWN_ID)
