"""What becomes of a lease, whatever its callable and the program's own code do."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker import Failure
from backlane.worker.book import Book
from backlane.worker.callable import BackgroundCallable
from backlane.worker.crew import Crew
from backlane.worker.threads import DaemonPool
from backlane.worker.watchdog import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 10
LEASE_S = 30.0


class Spy(Book):
    """A book of one slot that says when there is a result, and when the slot is free."""

    def __init__(self) -> None:
        super().__init__(1, silence_s=60.0)
        self.results: list[Any] = []
        self.is_free = threading.Event()

    def settle(self, results: Any) -> None:  # noqa: ANN401
        results = list(results)
        super().settle(results)
        self.results += results
        self.is_free.set()

    def vacate(self, token: str) -> None:
        super().vacate(token)
        self.is_free.set()


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
