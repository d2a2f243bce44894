"""The SDK's worker against a real server: the results of all kinds of callables."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from backlane import Client, Context, Failure, Throttled, Worker
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from tests.integration.ends import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PATIENCE_S,
    TIMEOUT,
    finished,
    run_one,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import ServerProcess
    from tests.conformance.door import Door


class Listener(logging.Handler):
    """Waits for lines of the worker's log."""

    def __init__(self, *parts: str) -> None:
        """Listen for lines that hold these texts."""
        super().__init__()
        self.heard = {part: threading.Event() for part in parts}

    def emit(self, record: logging.LogRecord) -> None:
        for part, event in self.heard.items():
            if part in record.getMessage():
                event.set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen during the block."""
        log = logging.getLogger("backlane.worker")
        log.addHandler(self)
        yield
        log.removeHandler(self)


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


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
        told = [ctx.context["locale"], ctx.metadata["order"], 55 < ctx.remaining <= 60]
        return [*told, ctx.input, ctx.traceparent]

    with worker.running():
        request = producer.new(callable_name="tell", context={"locale": "en"})
        request.config.timeout_ms = 60_000
        request.traceparent = TRACE
        request.metadata["order"].number_value = 7
        made = producer.producer.Enqueue(request, timeout=PATIENCE_S).execution
        [record] = finished(producer, made.execution_id)

    assert from_value(record.output) == ["en", 7, True, None, TRACE]


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
    worker.callable(waiting(began, reasons))

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
    assert any("still running, and left behind" in message for message in caplog.messages)


def test_a_callable_that_waits_in_vain_gives_its_slot_back(
    server: ServerProcess, worker: Worker, producer: Door
) -> None:
    client = Client(server.target, tenant=producer.tenant)

    @worker.callable(concurrency=1)
    def wait(who: str) -> str:
        if who == "parent":
            # The child needs the only slot, which its parent has.
            client.run(wait, "child")
        return "waited"

    with client, worker.running():
        parent = run_one(producer, "wait", '"parent"', timeout_ms=300)
        child = run_one(producer, "wait", '"child"')

    assert (parent.status, child.status) == (TIMEOUT, COMPLETED)


def test_a_worker_without_a_free_slot_says_so_until_its_callables_end(
    worker: Worker, producer: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backlane.worker.overruns.FIRST_S", 0.1)
    may_end = threading.Event()
    listener = Listener("takes no executions of hang", "takes executions of hang")

    @worker.callable(concurrency=1)
    def hang() -> None:
        may_end.wait(PATIENCE_S)

    with listener.listening(), worker.running():
        ended = run_one(producer, "hang", timeout_ms=50)
        assert listener.heard["takes no executions of hang"].wait(PATIENCE_S)
        may_end.set()
        assert listener.heard["takes executions of hang"].wait(PATIENCE_S)

    assert ended.status == TIMEOUT


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
