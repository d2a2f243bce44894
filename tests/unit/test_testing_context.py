"""Callables called as functions, with a context that needs no server."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from backlane import Context, Worker
from backlane.schema.values import NotJsonError
from backlane.testing import FakeContext

if TYPE_CHECKING:
    from backlane.worker.context import StopReason


@dataclass
class Mail:
    """An input."""

    to: str


def test_a_callable_is_called_as_the_function_that_it_is() -> None:
    worker = Worker()

    @worker.callable
    def send(ctx: Context, mail: Mail) -> str:
        return f"{mail.to} {ctx.execution_id} {ctx.attempt}"

    assert send(FakeContext(execution_id="exec_1", attempt=3), Mail("ada")) == "ada exec_1 3"


async def test_an_async_callable_is_awaited() -> None:
    worker = Worker()

    @worker.callable
    async def send(ctx: Context, mail: Mail) -> str:
        return f"{mail.to} of {ctx.tenant_id}"

    assert await send(FakeContext(tenant_id="acme"), Mail("ada")) == "ada of acme"


def test_a_context_tells_what_the_test_set() -> None:
    ctx = FakeContext(
        execution_id="exec_1",
        tenant_id="acme",
        callable_name="mail.send",
        worker_id="w",
        attempt=2,
        input='{"to":"ada"}',
        context={"user": "u1"},
        metadata={"size": 2, "tags": ["a", None]},
        traceparent="00-1-2-01",
    )

    assert (ctx.execution_id, ctx.tenant_id, ctx.callable_name) == ("exec_1", "acme", "mail.send")
    assert (ctx.worker_id, ctx.attempt, ctx.input) == ("w", 2, '{"to":"ada"}')
    assert (ctx.context, ctx.traceparent) == ({"user": "u1"}, "00-1-2-01")
    assert ctx.metadata == {"size": 2, "tags": ["a", None]}


def test_a_context_without_settings_is_a_first_attempt_with_an_hour() -> None:
    ctx = FakeContext()

    assert (ctx.tenant_id, ctx.callable_name, ctx.attempt) == ("test", "test", 1)
    assert (ctx.input, ctx.traceparent, ctx.context, ctx.metadata) == (None, None, {}, {})
    assert 3500 < ctx.remaining <= 3600
    ctx.check_cancelled()
    assert not ctx.cancelled.is_set()


def test_time_that_remains_ends() -> None:
    ctx = FakeContext(remaining=-1)

    assert ctx.remaining == 0
    assert ctx.deadline < datetime.now(UTC) - timedelta(milliseconds=900)


def test_a_cancelled_context_stops_a_callable_that_looks() -> None:
    ctx = FakeContext()
    ctx.cancel()

    assert ctx.cancelled.is_set()
    assert ctx.stop_reason == "requested"
    with pytest.raises(asyncio.CancelledError, match="requested"):
        ctx.check_cancelled()


def test_threads_that_ask_at_once_for_the_event_get_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx, events = FakeContext(), list[threading.Event]()
    real = threading.Event
    other = threading.Thread(target=lambda: events.append(ctx.cancelled))

    def slow() -> threading.Event:
        # While one thread makes the event, another asks for it, and has a while to get one.
        monkeypatch.setattr(threading, "Event", real)
        other.start()
        other.join(0.1)
        return real()

    monkeypatch.setattr(threading, "Event", slow)
    events.append(ctx.cancelled)
    other.join(10)
    ctx.cancel()

    assert events[0] is events[1]
    assert events[0].is_set()


def test_progress_is_kept_for_the_test() -> None:
    ctx = FakeContext()
    ctx.progress(0.4, "text")
    ctx.progress(1)
    ctx.progress(message="x" * 1024)

    assert ctx.progressed == [(0.4, "text"), (1.0, ""), (None, "x" * 1024)]


@pytest.mark.parametrize(
    ("fraction", "message", "problem"),
    [
        (None, "", "progress needs a fraction or a message"),
        (-0.1, "", "fraction must be 0 to 1, not -0.1"),
        (1.5, "", "fraction must be 0 to 1, not 1.5"),
        (float("nan"), "", "fraction must be 0 to 1, not nan"),
        (None, "é" * 513, "message has 1026 bytes, at most 1024 are possible"),
    ],
)
def test_progress_that_does_not_fit_is_refused(
    fraction: float | None, message: str, problem: str
) -> None:
    ctx = FakeContext()

    with pytest.raises(ValueError, match=problem):
        ctx.progress(fraction, message)

    assert ctx.progressed == []


def test_its_log_names_the_execution(caplog: pytest.LogCaptureFixture) -> None:
    FakeContext(execution_id="exec_1", callable_name="greet").log.warning("slow")

    assert caplog.record_tuples == [("backlane.callable", logging.WARNING, "greet exec_1: slow")]


def test_what_is_logged_is_kept_whatever_its_level(caplog: pytest.LogCaptureFixture) -> None:
    ctx = FakeContext(execution_id="exec_1", callable_name="greet", attempt=2)
    ctx.log.debug("to %s", "Ada", extra={"user": "u1"})
    ctx.log.error("no")

    assert ctx.messages == ["to Ada", "no"]
    assert [record.levelname for record in ctx.records] == ["DEBUG", "ERROR"]
    assert [vars(ctx.records[0])[name] for name in ("attempt", "user")] == [2, "u1"]
    assert caplog.records == ctx.records
    assert FakeContext().records == []


def test_a_deadline_is_what_remains() -> None:
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    ctx = FakeContext(deadline=deadline)

    assert 50 < ctx.remaining <= 60
    assert abs(ctx.deadline - deadline) < timedelta(seconds=1)


@pytest.mark.parametrize("reason", ["lost", "timeout", "drain"])
def test_a_context_can_be_stopped_for_other_reasons(reason: StopReason) -> None:
    ctx = FakeContext()
    ctx.cancel(reason)

    assert ctx.stop_reason == reason


async def test_an_async_callable_is_cancelled_through_its_task() -> None:
    started = asyncio.Event()

    async def hang(ctx: Context) -> str | None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return ctx.stop_reason
        return None

    ctx = FakeContext()
    task = asyncio.create_task(hang(ctx))
    await started.wait()
    ctx.cancel()
    task.cancel()

    assert await task == "requested"


def test_metadata_that_is_no_json_is_refused() -> None:
    with pytest.raises(NotJsonError):
        FakeContext(metadata={"when": datetime.now(UTC)})


async def test_steps_run_and_waits_get_what_the_test_gave() -> None:
    async def pay(ctx: Context) -> str:
        async def look(cents: int) -> str:
            return f"{cents} cents"

        bill = await ctx.step("look", look, 5)
        await ctx.sleep(timedelta(hours=1))
        is_allowed = await ctx.wait_for_input("approval", key="boss", type=bool)
        try:
            await ctx.wait_for_input(key="late", timeout=60)
        except TimeoutError as late:
            return f"{bill}, {is_allowed}, {late}"
        return bill

    ctx = FakeContext(inputs={"boss": True})

    assert await pay(ctx) == "5 cents, True, there is no input late: its time has passed"
    assert ctx.slept == [3600.0]


def test_a_plain_callable_takes_steps_and_waits_too() -> None:
    until = datetime(2030, 1, 1, tzinfo=UTC)

    def pay(ctx: Context) -> object:
        ctx.sleep_until(until)
        with pytest.raises(LookupError, match="inputs="):
            ctx.wait_for_input(key="other")
        return ctx.step("sum", sum, [1, 2]), ctx.wait_for_input(key="boss")

    ctx = FakeContext(inputs={"boss": {"a": 1}})

    assert pay(ctx) == (3, {"a": 1})
    assert ctx.slept == [until]
