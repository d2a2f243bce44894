"""The SDK's worker against a real server: what becomes of executions, whatever callables do."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from backlane import Context, Failure, Throttled, Worker, errors
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from tests.conformance.door import Door, new_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import ServerProcess
    from tests.conftest import StartServer

QUEUED = records.BACKGROUND_EXECUTION_STATUS_QUEUED
COMPLETED = records.BACKGROUND_EXECUTION_STATUS_COMPLETED
FAILED = records.BACKGROUND_EXECUTION_STATUS_FAILED
CANCELLED = records.BACKGROUND_EXECUTION_STATUS_CANCELLED
TIMEOUT = records.BACKGROUND_EXECUTION_STATUS_TIMEOUT
PATIENCE_S = 20
"""How long anything may take, in seconds."""


@pytest.fixture
def producer(server: ServerProcess) -> Iterator[Door]:
    """A producer with a tenant of its own."""
    with grpc.insecure_channel(server.target) as channel:
        yield Door(channel, new_tenant())


@pytest.fixture
def worker(server: ServerProcess, producer: Door) -> Worker:
    """A worker of that tenant, which offers nothing yet."""
    return Worker(target=server.target, tenants=producer.tenant, drain_timeout=PATIENCE_S)


def finished(producer: Door, *execution_ids: str) -> list[records.BackgroundExecution]:
    """Wait for the ends, and return the records."""
    request = api.WaitRequest(tenant_id=producer.tenant, execution_ids=execution_ids)
    answer = producer.producer.Wait(request, timeout=PATIENCE_S, wait_for_ready=True)
    assert answer.satisfied
    return [producer.get(execution_id) for execution_id in execution_ids]


def run_one(producer: Door, name: str, text: str | None = None, **config: Any) -> Any:  # noqa: ANN401
    """Enqueue one execution and return its record once it ended."""
    config_message = records.BackgroundExecutionConfig(**config)
    made = producer.enqueue(callable_name=name, input=text, config=config_message)
    [record] = finished(producer, made.execution_id)
    return record


def test_async_and_plain_callables_answer(worker: Worker, producer: Door) -> None:
    @worker.callable
    async def greet(name: str) -> str:
        await asyncio.sleep(0)
        return f"hello {name}"

    @worker.callable(name="math.add")
    def add(ctx: Context, pair: tuple[int, int]) -> dict[str, object]:
        return {"sum": sum(pair), "attempt": ctx.attempt, "tenant": ctx.tenant_id}

    with worker.running():
        greeted = run_one(producer, "greet", '"Ada"')
        added = run_one(producer, "math.add", "[1, 2]")

    assert greeted.status == COMPLETED
    assert from_value(greeted.output) == "hello Ada"
    assert from_value(added.output) == {"sum": 3, "attempt": 1, "tenant": producer.tenant}


def test_the_context_tells_what_came_with_the_enqueue(worker: Worker, producer: Door) -> None:
    @worker.callable
    async def tell(ctx: Context) -> list[object]:
        return [ctx.context["locale"], ctx.metadata["order"], 55 < ctx.remaining <= 60, ctx.input]

    with worker.running():
        request = producer.new(callable_name="tell", context={"locale": "en"})
        request.config.timeout_ms = 60_000
        request.metadata["order"].number_value = 7
        made = producer.producer.Enqueue(request, timeout=PATIENCE_S).execution
        [record] = finished(producer, made.execution_id)

    assert from_value(record.output) == ["en", 7, True, None]


@pytest.mark.parametrize(
    ("text", "code"), [('{"a": 1}', "INVALID_INPUT"), ("7", "INVALID_OUTPUT"), ("8", "TOO_LARGE")]
)
def test_input_or_output_that_cannot_be_used_fails_for_good(
    worker: Worker, producer: Door, text: str, code: str
) -> None:
    @worker.callable
    def answer(number: int) -> object:
        return object() if number == 7 else "x" * 4_000_000

    with worker.running():
        retry = records.RetryConfig(max_attempts=3, initial_delay_ms=1)
        record = run_one(producer, "answer", text, retry=retry)

    assert (record.status, record.attempt) == (FAILED, 1)
    assert record.error.category == records.ERROR_CATEGORY_VALIDATION_ERROR
    assert record.error.code in {code, f"OUTPUT_{code}"}


def test_an_output_above_the_servers_limit_fails_in_its_place(
    worker: Worker, producer: Door
) -> None:
    @worker.callable
    async def answer() -> str:
        return "x" * (1 << 20)

    with worker.running():
        record = run_one(producer, "answer")

    assert (record.status, record.error.code) == (FAILED, "OUTPUT_TOO_LARGE")


def test_exceptions_are_retried_by_the_rule(worker: Worker, producer: Door) -> None:
    @worker.callable
    async def stumble(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise ConnectionError("away")
        return ctx.attempt

    with worker.running():
        retry = records.RetryConfig(max_attempts=3, initial_delay_ms=1)
        record = run_one(producer, "stumble", retry=retry)

    assert (record.status, from_value(record.output)) == (COMPLETED, 3)


def test_a_failure_that_is_not_retryable_ends_it(worker: Worker, producer: Door) -> None:
    @worker.callable
    def refuse() -> None:
        raise Failure("never", category="network_error", code="gone", retryable=False)

    with worker.running():
        record = run_one(producer, "refuse", retry=records.RetryConfig(initial_delay_ms=1))

    assert (record.status, record.attempt, record.error.code) == (FAILED, 1, "gone")
    assert record.error.message == "never"


def test_throttled_is_tried_again_without_a_retry_rule(worker: Worker, producer: Door) -> None:
    @worker.callable
    def wait(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise Throttled(retry_after=0.001)
        return ctx.attempt

    with worker.running():
        record = run_one(producer, "wait")

    assert (record.status, from_value(record.output)) == (COMPLETED, 2)


def test_what_ends_a_thread_or_a_loop_fails_its_attempt_alone(
    worker: Worker, producer: Door
) -> None:
    @worker.callable
    async def leave_async() -> None:
        raise SystemExit(3)

    @worker.callable
    def leave() -> None:
        raise KeyboardInterrupt

    with worker.running():
        ends = [run_one(producer, name) for name in ("leave_async", "leave", "leave_async")]

    assert [record.error.code for record in ends] == [
        "SystemExit",
        "KeyboardInterrupt",
        "SystemExit",
    ]


def test_a_cancel_reaches_async_and_plain_callables(worker: Worker, producer: Door) -> None:
    began = threading.Semaphore(0)
    reasons: list[object] = []

    @worker.callable
    async def wait_async(ctx: Context) -> None:
        began.release()
        try:
            await asyncio.Event().wait()
        finally:
            reasons.append(ctx.stop_reason)

    @worker.callable
    def wait(ctx: Context) -> None:
        began.release()
        ctx.cancelled.wait(PATIENCE_S)
        reasons.append(ctx.stop_reason)
        ctx.check_cancelled()

    with worker.running():
        ids = [producer.enqueue(callable_name=name).execution_id for name in ("wait_async", "wait")]
        for _ in ids:
            assert began.acquire(timeout=PATIENCE_S)
        for execution_id in ids:
            request = api.CancelRequest(tenant_id=producer.tenant, execution_id=execution_id)
            producer.producer.Cancel(request, timeout=PATIENCE_S)
        ends = finished(producer, *ids)

    assert [record.status for record in ends] == [CANCELLED, CANCELLED]
    assert reasons == ["requested", "requested"]


def test_a_result_within_the_grace_of_a_cancel_counts(worker: Worker, producer: Door) -> None:
    began = threading.Event()

    @worker.callable
    def finish(ctx: Context) -> str:
        began.set()
        ctx.cancelled.wait(PATIENCE_S)
        return "done all the same"

    with worker.running():
        made = producer.enqueue(callable_name="finish")
        assert began.wait(PATIENCE_S)
        request = api.CancelRequest(tenant_id=producer.tenant, execution_id=made.execution_id)
        producer.producer.Cancel(request, timeout=PATIENCE_S)
        [record] = finished(producer, made.execution_id)

    assert (record.status, from_value(record.output)) == (COMPLETED, "done all the same")


def test_an_attempt_that_takes_too_long_is_stopped(worker: Worker, producer: Door) -> None:
    stopped = threading.Event()

    @worker.callable
    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    with worker.running():
        record = run_one(producer, "wait", timeout_ms=50)
        assert stopped.wait(PATIENCE_S)

    assert (record.status, record.error.code) == (TIMEOUT, "ATTEMPT_TIMEOUT")


def test_a_callable_that_never_returns_takes_its_slot_and_nothing_else(
    server: ServerProcess, producer: Door, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(
        target=server.target, tenants=producer.tenant, concurrency=2, drain_timeout=0.01
    )
    never = threading.Event()

    @worker.callable
    def hang() -> None:
        never.wait(60)

    @worker.callable
    def work() -> str:
        return "worked"

    with worker.running():
        hung = run_one(producer, "hang", timeout_ms=50)
        worked = [run_one(producer, "work") for _ in range(3)]
    never.set()

    assert hung.status == TIMEOUT
    assert [from_value(record.output) for record in worked] == ["worked"] * 3
    assert any("still runs, and is left behind" in message for message in caplog.messages)


def test_a_callable_that_blocks_the_loop_keeps_its_lease_and_the_log_says_so(
    server: ServerProcess, producer: Door, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(target=server.target, tenants=producer.tenant, lease=1.0)

    @worker.callable
    async def block() -> str:
        # Blocking is what it is about: two and a half leases long.
        time.sleep(2.5)  # noqa: ASYNC251
        return "held"

    with worker.running():
        record = run_one(producer, "block")

    assert (record.status, record.attempt, from_value(record.output)) == (COMPLETED, 1, "held")
    [said] = [message for message in caplog.messages if "has been blocked" in message]
    assert f"by block {record.execution_id}" in said
    assert "test_worker.py" in said


def test_a_drain_lets_what_runs_finish_and_takes_nothing_more(
    worker: Worker, producer: Door
) -> None:
    began, may_end = threading.Event(), threading.Event()

    @worker.callable
    def work() -> str:
        began.set()
        may_end.wait(PATIENCE_S)
        return "finished"

    shift = worker.start()
    made = producer.enqueue(callable_name="work")
    assert began.wait(PATIENCE_S)
    shift.drain()
    left = producer.enqueue(callable_name="work")
    may_end.set()

    assert shift.wait(PATIENCE_S)
    assert producer.get(made.execution_id).status == COMPLETED
    assert producer.get(left.execution_id).status == QUEUED


def test_what_outlasts_a_drain_is_given_back_and_no_attempt_is_spent(
    server: ServerProcess, producer: Door
) -> None:
    worker = Worker(target=server.target, tenants=producer.tenant, drain_timeout=0.01)
    began = threading.Semaphore(0)
    seen: list[object] = []

    @worker.callable
    async def wait_async(ctx: Context) -> None:
        began.release()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(ctx.stop_reason)

    @worker.callable
    def wait(ctx: Context) -> None:
        began.release()
        ctx.cancelled.wait(PATIENCE_S)
        raise RuntimeError("told to stop")

    with worker.running():
        ids = [producer.enqueue(callable_name=name).execution_id for name in ("wait_async", "wait")]
        for _ in ids:
            assert began.acquire(timeout=PATIENCE_S)

    assert [producer.get(execution_id).status for execution_id in ids] == [QUEUED, QUEUED]
    assert not any(producer.get(execution_id).HasField("error") for execution_id in ids)
    assert seen == ["drain"]


def test_a_second_drain_does_not_wait(server: ServerProcess, producer: Door) -> None:
    worker = Worker(target=server.target, tenants=producer.tenant, drain_timeout=3600)
    began = threading.Event()

    @worker.callable
    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    shift = worker.start()
    made = producer.enqueue(callable_name="wait")
    assert began.wait(PATIENCE_S)
    shift.drain()
    shift.drain()

    assert shift.wait(PATIENCE_S)
    assert producer.get(made.execution_id).status == QUEUED


def test_a_killed_server_loses_no_lease_and_no_result(
    start_server: StartServer,
    tmp_path: Any,  # noqa: ANN401
) -> None:
    server = start_server(tmp_path / "data")
    worker = Worker(target=server.target, tenants="*", concurrency=8)
    began, may_end = threading.Semaphore(0), threading.Event()

    @worker.callable
    async def wait_async(ctx: Context) -> int:
        began.release()
        await asyncio.to_thread(may_end.wait, PATIENCE_S)
        return ctx.attempt

    @worker.callable
    def wait(ctx: Context) -> int:
        began.release()
        may_end.wait(PATIENCE_S)
        return ctx.attempt

    with grpc.insecure_channel(server.target) as channel, worker.running():
        producer = Door(channel, "t")
        names = ["wait_async", "wait"] * 2
        ids = [producer.enqueue(callable_name=name).execution_id for name in names]
        for _ in ids:
            assert began.acquire(timeout=PATIENCE_S)
        server.kill()
        may_end.set()
        server.restart()
        ends = finished(producer, *ids)

    assert [from_value(record.output) for record in ends] == [1, 1, 1, 1]


def test_a_server_that_drains_takes_its_worker_along_to_the_next(
    start_server: StartServer,
    tmp_path: Any,  # noqa: ANN401
) -> None:
    server = start_server(tmp_path / "data", args=("--drain-grace", "100ms"))
    worker = Worker(target=server.target, tenants="*")
    began, may_end = threading.Event(), threading.Event()

    @worker.callable
    def wait(ctx: Context) -> int:
        began.set()
        may_end.wait(PATIENCE_S)
        return ctx.attempt

    with grpc.insecure_channel(server.target) as channel, worker.running():
        producer = Door(channel, "t")
        made = producer.enqueue(callable_name="wait")
        assert began.wait(PATIENCE_S)
        assert server.stop() == 0
        server.restart()
        may_end.set()
        [record] = finished(producer, made.execution_id)
        after = producer.producer.Enqueue(
            producer.new(callable_name="wait"), timeout=PATIENCE_S, wait_for_ready=True
        )
        finished(producer, after.execution.execution_id)

    assert (record.status, from_value(record.output)) == (COMPLETED, 1)


def test_a_callable_with_its_own_concurrency_neither_exceeds_nor_hoards(
    worker: Worker, producer: Door
) -> None:
    began, may_end = threading.Semaphore(0), threading.Event()

    @worker.callable(concurrency=2)
    def narrow() -> None:
        began.release()
        may_end.wait(PATIENCE_S)

    @worker.callable
    def wide() -> str:
        return "passed"

    with worker.running():
        ids = [producer.enqueue(callable_name="narrow").execution_id for _ in range(5)]
        for _ in range(2):
            assert began.acquire(timeout=PATIENCE_S)
        passed = run_one(producer, "wide")
        stats = producer.stats()
        may_end.set()
        ends = finished(producer, *ids)

    assert from_value(passed.output) == "passed"
    assert (stats.running, stats.ready) == (2, 3)
    assert {record.status for record in ends} == {COMPLETED}


def test_every_slot_is_busy_while_work_waits(server: ServerProcess, producer: Door) -> None:
    worker = Worker(target=server.target, tenants=producer.tenant, concurrency=8)
    full, may_end = threading.Barrier(8 + 1), threading.Event()

    @worker.callable
    def work() -> None:
        full.wait(PATIENCE_S)
        may_end.wait(PATIENCE_S)

    ids = [producer.enqueue(callable_name="work").execution_id for _ in range(16)]
    with worker.running():
        full.wait(PATIENCE_S)
        assert (producer.stats().running, producer.stats().ready) == (8, 8)
        may_end.set()
        full.wait(PATIENCE_S)
        ends = finished(producer, *ids)

    assert {record.status for record in ends} == {COMPLETED}


def test_a_worker_waits_for_a_server_that_is_not_there_yet(
    start_server: StartServer,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Any,  # noqa: ANN401
) -> None:
    server = start_server(tmp_path / "data")
    target = server.target
    server.kill()
    worker = Worker(target=target, tenants="*")
    said = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == f"no server at {target}: trying until there is one":
                said.set()

    listener = Listener()
    logging.getLogger("backlane.worker").addHandler(listener)

    @worker.callable
    def work() -> str:
        return "worked"

    try:
        with worker.running(), grpc.insecure_channel(target) as channel:
            assert said.wait(PATIENCE_S)
            server.restart()
            record = run_one(Door(channel, "t"), "work")
    finally:
        logging.getLogger("backlane.worker").removeHandler(listener)

    assert record.status == COMPLETED
    assert len([text for text in caplog.messages if text.startswith("no server at")]) == 1


def test_a_server_that_knows_no_workers_ends_the_run_with_one_clear_error() -> None:
    other = grpc.server(futures.ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    worker = Worker(target=f"127.0.0.1:{port}")

    @worker.callable
    def work() -> None: ...

    with pytest.raises(errors.UnimplementedError):
        worker.run()
    other.stop(None)


def test_a_drain_ends_a_worker_that_never_found_a_server(start_server: StartServer) -> None:
    server = start_server()
    server.kill()
    worker = Worker(target=server.target)

    @worker.callable
    def work() -> None: ...

    shift = worker.start()
    shift.drain()

    assert shift.wait(PATIENCE_S)


def test_a_worker_serves_its_tenants_alone(server: ServerProcess, producer: Door) -> None:
    other = Door(producer.channel, new_tenant())
    worker = Worker(target=server.target, tenants=producer.tenant)

    @worker.callable
    def work() -> None: ...

    left = other.enqueue(callable_name="work")
    with worker.running():
        assert run_one(producer, "work").status == COMPLETED

    assert other.get(left.execution_id).status == QUEUED
