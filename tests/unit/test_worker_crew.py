"""The results of leases, for any behaviour of callables and of the program's own code."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from backlane.client.times import Slices
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker import Context, Failure
from backlane.worker.book import Book
from backlane.worker.callable import BackgroundCallable
from backlane.worker.crew import Crew
from backlane.worker.threads import DaemonPool
from backlane.worker.watchdog import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backlane.worker.lane import Begun

PATIENCE_S = 10
LEASE_S = 30.0


class Spy(Book):
    """A book of one slot that says when there is a result, and when the slot is free."""

    def __init__(self) -> None:
        super().__init__(1, silence_s=60.0)
        self.results: list[Any] = []
        self.is_free = threading.Event()

    def settle(self, results: Any) -> list[Begun]:  # noqa: ANN401
        results = list(results)
        begun = super().settle(results)
        self.results += results
        self.is_free.set()
        return begun

    def vacate(self, token: str) -> list[Begun]:
        begun = super().vacate(token)
        self.is_free.set()
        return begun


class Bench:
    """A crew on a loop and a thread of its own."""

    def __init__(self, thread: LoopThread) -> None:
        self.thread = thread
        self.book = Spy()
        self.callables: dict[str, BackgroundCallable[..., Any]] = {}
        self.crew = Crew(
            *(self.book, self.callables, "w", LEASE_S, thread.loop, DaemonPool(1, "test"))
        )

    def begin(
        self, function: Callable[..., Any], text: str | None = None, *, seconds: float = 3600.0
    ) -> str:
        """Give it a lease of a callable, whose attempt may take that long; return its token."""
        made = BackgroundCallable(function, name="work")
        self.callables["work"] = made
        self.book.is_free.clear()
        execution = records.BackgroundExecution(callable_name="work", input=text)
        lease = api.Lease(execution=execution, lease_token=f"t{len(self.book.results)}")
        lease.lease_expires_at.FromMilliseconds(1_000_000 + round(LEASE_S * 1000))
        lease.attempt_deadline.FromMilliseconds(1_000_000 + round(seconds * 1000))
        self.crew.take_on([lease])
        return lease.lease_token

    def run(self, function: Callable[..., Any], text: str | None = None) -> Any:  # noqa: ANN401
        """Run a callable to its end and return what the worker says of it."""
        self.begin(function, text)
        assert self.book.is_free.wait(PATIENCE_S)
        return self.book.results[-1]


@pytest.fixture
def bench() -> Iterator[Bench]:
    thread = LoopThread()
    yield Bench(thread)
    thread.stop(PATIENCE_S)


class RaisingFilter(logging.Filter):
    """A filter with a bug."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def filter(self, _: logging.LogRecord) -> bool:
        raise self._error


class OddError(Exception):
    """Cannot be looked at."""

    def __str__(self) -> str:
        raise SystemExit("no")

    __repr__ = __str__


class OddFailure(Failure):
    """Cannot be looked at either."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


@pytest.fixture(params=[OSError("the log is away"), SystemExit(1)], ids=["OSError", "SystemExit"])
def _broken_log(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    raising = RaisingFilter(request.param)
    log = logging.getLogger("backlane.callable")
    caplog.set_level(logging.INFO, log.name)
    log.addFilter(raising)
    yield
    log.removeFilter(raising)


def fail() -> None:
    raise ValueError("x")


async def fail_async() -> None:
    raise ValueError("x")


def fail_for_good() -> None:
    raise Failure("x", retryable=False)


def answer() -> str:
    return "answered"


@pytest.mark.usefixtures("_broken_log")
@pytest.mark.parametrize(
    ("function", "code"), [(fail, "ValueError"), (fail_async, "ValueError"), (fail_for_good, "")]
)
def test_a_log_that_raises_costs_no_lease(
    bench: Bench, function: Callable[[], object], code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench.run(function).error.code == code
    assert bench.run(answer).output.string_value == "answered"
    assert "in filter" in capfd.readouterr().err


def odd() -> None:
    raise OddError


async def odd_async() -> None:
    raise OddError


def odd_failure() -> None:
    raise OddFailure("odd", retryable=False)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (odd, "OddError: <its text cannot be printed>"),
        (odd_async, "OddError: <its text cannot be printed>"),
        (odd_failure, "odd"),
    ],
)
def test_an_exception_that_cannot_be_looked_at_costs_no_lease(
    bench: Bench, function: Callable[[], object], said: str
) -> None:
    assert bench.run(function).error.message == said
    assert bench.run(answer).output.string_value == "answered"


def test_an_exception_that_cannot_even_be_touched_costs_no_lease(bench: Bench) -> None:
    class UntouchableError(Exception):
        def with_traceback(self, _: object) -> UntouchableError:
            raise SystemExit

    def work() -> None:
        raise UntouchableError

    assert bench.run(work).error.code == "UNPRINTABLE_ERROR"
    assert bench.run(answer).output.string_value == "answered"


def test_a_thread_of_the_pool_survives_what_it_runs() -> None:
    pool, done = DaemonPool(1, "test"), threading.Event()

    def leave() -> None:
        raise SystemExit

    pool.submit(leave)
    pool.submit(done.set)

    assert done.wait(PATIENCE_S)
    pool.close()


def around(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function around an async one, as many decorators make it."""

    @functools.wraps(function)
    def wrapper(*args: object) -> object:
        return function(*args)

    return wrapper


def test_what_a_plain_callable_returns_is_awaited_on_the_loop(bench: Bench) -> None:
    @around
    async def work(number: int) -> list[object]:
        await asyncio.sleep(0)
        return [number, threading.current_thread().name]

    output = from_value(bench.run(work, "7").output)

    assert output == [7, "backlane-loop"]


def test_what_is_awaited_of_a_plain_callable_is_cancelled(bench: Bench) -> None:
    began = threading.Event()

    @around
    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    token = bench.begin(work)
    assert began.wait(PATIENCE_S)
    bench.crew.cancel([token])
    assert bench.book.is_free.wait(PATIENCE_S)

    assert isinstance(bench.book.results[-1], api.LeaseRef)


def test_what_a_plain_callable_returns_after_a_cancel_is_not_begun(bench: Bench) -> None:
    began, may_end = threading.Event(), threading.Event()
    awaited: list[str] = []

    async def wait() -> None:
        awaited.append("begun")

    def work() -> object:
        began.set()
        may_end.wait(PATIENCE_S)
        return wait()

    token = bench.begin(work)
    assert began.wait(PATIENCE_S)
    bench.crew.cancel([token])
    may_end.set()
    assert bench.book.is_free.wait(PATIENCE_S)

    assert isinstance(bench.book.results[-1], api.LeaseRef)
    assert awaited == []


def test_what_is_awaited_of_a_plain_callable_may_fail(bench: Bench) -> None:
    @around
    async def work() -> None:
        raise ValueError("no")

    assert bench.run(work).error.message == "ValueError: no"


def test_a_group_of_cancels_is_a_cancel(bench: Bench) -> None:
    began = threading.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as stopped:
            raise BaseExceptionGroup("parts", [stopped]) from None

    token = bench.begin(work)
    assert began.wait(PATIENCE_S)
    bench.crew.cancel([token])
    assert bench.book.is_free.wait(PATIENCE_S)

    assert isinstance(bench.book.results[-1], api.LeaseRef)


def test_what_a_task_group_raises_keeps_its_meaning(bench: Bench) -> None:
    async def part(error: Exception) -> None:
        raise error

    async def work() -> None:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(part(ValueError("no")))
            parts.create_task(part(Failure("never", code="gone", retryable=False)))

    told = bench.run(work).error

    assert (told.message, told.code, told.retry_policy.retryable) == ("never", "gone", False)
    assert told.HasField("retry_policy")


@pytest.mark.parametrize("ends", ["lose", "stop_overdue"])
def test_a_wait_raises_once_its_attempt_has_ended(bench: Bench, ends: str) -> None:
    began, may_wait = threading.Event(), threading.Event()
    slices: list[float] = []

    def work() -> None:
        slices.append(Slices(None).next_s())
        began.set()
        may_wait.wait(PATIENCE_S)
        slices.append(Slices(None).next_s())

    token = bench.begin(work, seconds=3600.0 if ends == "lose" else 0.0)
    assert began.wait(PATIENCE_S)
    bench.crew.cancel([token])
    if ends == "lose":
        bench.crew.lose([token])
    else:
        bench.crew.stop_overdue()
    may_wait.set()
    assert bench.book.is_free.wait(PATIENCE_S)

    assert slices == [5.0 if ends == "lose" else 0.25]


def test_a_wait_goes_on_after_a_cancel_whose_time_is_not_over(bench: Bench) -> None:
    began = threading.Event()

    @around
    async def work() -> float:
        began.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
        return Slices(None).next_s()

    token = bench.begin(work)
    assert began.wait(PATIENCE_S)
    bench.crew.cancel([token])
    assert bench.book.is_free.wait(PATIENCE_S)

    assert bench.book.results[-1].output.number_value == 5.0


class Cleaner:
    """An async callable that cleans up until it may end, and notes each cancel."""

    def __init__(self, bench: Bench) -> None:
        self._loop = bench.thread.loop
        self._may_end = asyncio.Event()
        self.began, self.cancelled = threading.Event(), threading.Event()
        self.reasons: list[object] = []

    async def __call__(self, ctx: Context) -> None:
        self._loop.call_soon(self.began.set)
        while not self._may_end.is_set():
            try:
                await self._may_end.wait()
            except asyncio.CancelledError:
                self.reasons.append(ctx.stop_reason)
                self.cancelled.set()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._may_end.set)


def test_a_cleanup_is_left_alone_once_the_attempt_is_over(bench: Bench) -> None:
    work = Cleaner(bench)
    token = bench.begin(work, seconds=0.0)
    assert work.began.wait(PATIENCE_S)
    bench.crew.stop_overdue()
    assert work.cancelled.wait(PATIENCE_S)
    bench.crew.stop_overdue()
    bench.crew.lose([token])
    bench.crew.stop_all("drain")
    work.end()
    assert bench.book.is_free.wait(PATIENCE_S)

    assert work.reasons == ["timeout"]


def test_a_cleanup_after_a_cancel_is_left_alone_when_its_time_is_over(bench: Bench) -> None:
    work = Cleaner(bench)
    token = bench.begin(work, seconds=0.0)
    assert work.began.wait(PATIENCE_S)
    bench.crew.cancel([token])
    assert work.cancelled.wait(PATIENCE_S)
    for _ in range(3):
        bench.crew.stop_overdue()
    work.end()
    assert bench.book.is_free.wait(PATIENCE_S)

    assert work.reasons == ["requested"]


def test_context_variables_of_one_execution_are_not_seen_by_the_next(bench: Bench) -> None:
    tenant = contextvars.ContextVar("tenant", default="nobody")

    def work(name: str) -> str:
        before = tenant.get()
        tenant.set(name)
        return before

    @around
    async def work_async() -> str:
        return tenant.get()

    def go_on(name: str) -> object:
        tenant.set(name)
        return work_async()

    befores = [bench.run(work, name).output.string_value for name in ("ada", "alan")]

    assert befores == ["nobody", "nobody"]
    assert bench.run(go_on, "grace").output.string_value == "grace"
