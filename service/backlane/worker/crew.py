"""Owns the running of leases, from their arrival to a result, on an event loop or a thread.

Async callables run on the worker's loop, and plain ones on its threads; if a plain one returns an
awaitable, the loop awaits it. Each lease ends with one call of the book: with a result, or without
one for a lease that needs no report.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from backlane.schema.attempt import RUNNING
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.context import Context
from backlane.worker.failure import Failure
from backlane.worker.groups import decisive
from backlane.worker.report import report
from backlane.worker.run import Run
from backlane.worker.threads import survive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence

    from backlane.worker.book import Book
    from backlane.worker.callable import BackgroundCallable
    from backlane.worker.context import StopReason
    from backlane.worker.kin import Kin
    from backlane.worker.lane import Begun
    from backlane.worker.results import Result
    from backlane.worker.threads import DaemonPool

OUTPUT_BYTES_MAX: Final = 3 << 20
"""The highest limit that a server can have. A larger output would not fit into a message, and would
break the stream."""

_FINAL: Final = {"lost", "timeout", "suspended"}
"""The reasons after which a callable is not told to stop again."""

_UNUSED: Final = (
    "returned although it was suspended: it caught the CancelledError of a wait, which it should "
    "not. What it returned is not used"
)

log = logging.getLogger("backlane.worker")


class Crew:
    """Runs the leases of one lane."""

    def __init__(  # noqa: PLR0913  # what one lane shares with the worker
        self,
        book: Book,
        callables: Mapping[str, BackgroundCallable[..., Any]],
        worker_id: str,
        lease_s: float,
        loop: asyncio.AbstractEventLoop,
        pool: DaemonPool,
        *,
        lane: int = 0,
        kin: Kin | None = None,
    ) -> None:
        """Make a crew without leases.

        Args:
            book: gets the result of each lease.
            callables: the callables, by name.
            worker_id: the worker's id.
            lease_s: the length of a new lease, in seconds.
            loop: runs async callables, on another thread.
            pool: runs plain callables.
            lane: the number of the lane in the book.
            kin: makes the calls of executions about their children.
        """
        self._book = book
        self._callables = callables
        self.worker_id = worker_id
        self._lane = book.lanes[lane]
        self.slots = self._lane.slots
        self.callable_names = sorted(callables)
        self._kin = kin
        self._clock = book.clock
        self._lease_s = lease_s
        self._loop = loop
        self._pool = pool
        self._runs: dict[str, Run] = {}
        self._done: list[Result] = []

    # From the thread that reads the stream.

    def take_on(self, leases: Sequence[api.Lease]) -> None:
        """Run new leases, as far as there are free slots."""
        self._run(self._book.arrive(leases))

    def cancel(self, tokens: Iterable[str]) -> None:
        """Ask executions to stop because a client cancelled them."""
        tokens = list(tokens)
        self._book.give_back(tokens)
        self._stop(tokens, "requested")

    def pause(self, tokens: Iterable[str]) -> None:
        """Ask executions to yield to a pause at their next step."""
        tokens = list(tokens)
        self._book.give_back(tokens)
        for run in filter(None, map(self._runs.get, tokens)):
            run.context.pause()

    def lose(self, tokens: Iterable[str]) -> None:
        """Stop executions whose lease is lost."""
        tokens = list(tokens)
        for run in filter(None, map(self._runs.get, tokens)):
            run.end(self._clock())
        self._stop(tokens, "lost")

    # From any thread.

    def stop_all(self, reason: StopReason) -> None:
        """Stop all executions that have not ended."""
        self._stop(list(self._runs), reason)

    def stop_overdue(self) -> None:
        """Stop attempts that have timed out. The server's clock decides their outcome.

        Leases that have waited for a slot too long are given back.
        """
        self._book.give_back_overdue(self._lane)
        now = self._clock()
        overdue = [(token, run) for token, run in list(self._runs.items()) if run.is_overdue(now)]
        for _, run in overdue:
            run.end(run.ends_at)
        # What a client has cancelled before was told to stop already.
        self._stop([token for token, run in overdue if not run.context.stop_reason], "timeout")

    def running(self) -> list[Run]:
        """Return the runs that have begun and not ended."""
        return [run for run in list(self._runs.values()) if run.began_at is not None]

    def overrunning(self) -> list[Run]:
        """Return the runs that go on although their attempt has ended."""
        return [run for run in self.running() if run.ended_at is not None]

    def _run(self, begun: Iterable[Begun], *, is_loop: bool = False) -> None:
        """Run leases that have a slot; `is_loop` says that this is the loop's thread."""
        on_loop = []
        for lease, waited_s in begun:
            run = self._admit(lease, waited_s)
            if run is None:
                continue
            if run.is_on_loop:
                on_loop.append(run)
            else:
                # Context variables that one execution sets must not be visible in the next.
                alone = contextvars.Context()
                self._pool.submit(functools.partial(alone.run, self._run_plain, run))
        if on_loop and is_loop:
            self._begin(on_loop)
        elif on_loop:
            self._loop.call_soon_threadsafe(self._begin, on_loop)

    def _admit(self, lease: api.Lease, waited_s: float) -> Run | None:
        called = self._callables.get(lease.execution.callable_name)
        if called is None:
            # Happens only if the server sends a callable that was not offered.
            self._run(self._book.settle([_release(lease)]))
            return None
        remaining_s = _remaining_s(lease, self._lease_s)
        if not lease.prefetched:
            remaining_s -= waited_s
        given = (lease, self.worker_id, remaining_s, self._book, called.version, self._kin)
        context = Context(*given)
        run = Run(lease, called, context, self._clock() + remaining_s)
        if lease.execution.cancel_requested:
            context.stop("requested")
        self._runs[lease.lease_token] = run
        return run

    def _stop(self, tokens: Iterable[str], reason: StopReason) -> None:
        for token in tokens:
            run = self._runs.get(token)
            # After a loss, a timeout or a suspension, another cancel would only interrupt the
            # cleanup.
            if run is None or run.context.stop_reason in {reason, *_FINAL}:
                continue
            run.context.stop(reason)
            if run.is_on_loop:
                self._loop.call_soon_threadsafe(self._cancel, run)

    # On the loop.

    def _begin(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self._start(self._run_async(run))

    def _start(self, running: Coroutine[Any, Any, None]) -> None:
        # The loop has a reference to the task until the task begins, and then the run has one.
        self._loop.create_task(running)

    def _cancel(self, run: Run) -> None:
        # A task that has not begun checks this itself. If it were cancelled, it would never begin.
        if run.task is not None:
            run.task.cancel()

    async def _run_async(self, run: Run) -> None:
        RUNNING.set(run.context)
        try:
            run.task = run.context.task = asyncio.current_task()
            result = self._unwanted(run)
            if result is None:
                arguments = self._arguments(run)
                result = self._completion(run, await run.callable.function(*arguments))
        except BaseException as error:  # noqa: BLE001  # any exception ends the attempt
            self._finish_on_loop(run, self._after(run, error))
        else:
            self._finish_on_loop(run, result)

    async def _go_on(self, run: Run, output: Awaitable[object]) -> None:
        """Await what a plain callable returned: it is one around an async function."""
        RUNNING.set(run.context)
        try:
            run.task = run.context.task = asyncio.current_task()
            if run.context.stop_reason is not None:
                if inspect.iscoroutine(output):
                    output.close()
                raise asyncio.CancelledError  # noqa: TRY301  # as if it were awaiting
            result = self._completion(run, await output)
        except BaseException as error:  # noqa: BLE001  # any exception ends the attempt
            self._finish_on_loop(run, self._after(run, error))
        else:
            self._finish_on_loop(run, result)

    def _finish_on_loop(self, run: Run, result: Result | None) -> None:
        """Collect the results of one turn of the loop, and pass them to the book together."""
        if result is None:
            self._finish(run, None)
            return
        self._forget(run)
        self._done.append(result)
        if len(self._done) == 1:
            self._loop.call_soon(self._settle_done)

    def _settle_done(self) -> None:
        done, self._done = self._done, []
        self._run(self._book.settle(done), is_loop=True)

    # On a thread.

    def _run_plain(self, run: Run) -> None:
        RUNNING.set(run.context)
        run.thread_id = threading.get_ident()
        try:
            result = self._unwanted(run)
            if result is None:
                output = run.callable.function(*self._arguments(run))
                if inspect.isawaitable(output):
                    run.is_on_loop = True
                    self._loop.call_soon_threadsafe(self._start, self._go_on(run, output))
                    return
                result = self._completion(run, output)
        except BaseException as error:  # noqa: BLE001  # any exception ends the attempt
            result = self._after(run, error)
        self._finish(run, result)

    # On either.

    def _unwanted(self, run: Run) -> Result | None:
        """Begin a run, or return a release if the execution should not run any more.

        Raises:
            asyncio.CancelledError: the lease is lost or timed out, and must not be reported.
        """
        if run.context.stop_reason in {"lost", "timeout"}:
            raise asyncio.CancelledError
        if run.context.stop_reason is not None or self._book.is_draining:
            return run.release()
        if run.context.pause_requested:
            return run.suspension()
        run.began_at = self._clock()
        run.check_version()
        return None

    def _arguments(self, run: Run) -> tuple[object, ...]:
        loaded = run.callable.load_input(run.context.input)
        return (run.context, *loaded) if run.callable.takes_context else loaded

    def _completion(self, run: Run, output: object) -> Result:
        if run.context.is_suspended:
            return self._suspension(run, None, output)
        completion = api.CompleteResult(
            execution_id=run.lease.execution.execution_id, lease_token=run.lease.lease_token
        )
        if output is not None:
            value = run.callable.dump_output(output)
            if value.ByteSize() > OUTPUT_BYTES_MAX:
                size = f"{value.ByteSize()} bytes, and the limit is {OUTPUT_BYTES_MAX}"
                return run.refuse("OUTPUT_TOO_LARGE", f"the output has {size}")
            completion.output.CopyFrom(value)
        return completion

    def _after(self, run: Run, error: BaseException) -> Result | None:
        """Return the report for an exception; None if there must be no report."""
        try:
            return self._meaning(run, error)
        except BaseException:  # noqa: BLE001  # without a result the lease would never end
            message = "the callable raised an exception that cannot be read"
            return run.refuse("UNPRINTABLE_ERROR", message, "tool_error")

    def _meaning(self, run: Run, error: BaseException) -> Result | None:
        reason = run.context.stop_reason
        if reason == "lost":
            return None
        told = decisive(error)
        is_cancelled = isinstance(told, asyncio.CancelledError)
        if reason == "suspended":
            return self._suspension(run, None if is_cancelled else error)
        if is_cancelled and reason is not None:
            return None if reason == "timeout" else run.release()
        if reason == "drain":
            # It failed because it was told to stop, so no attempt may be spent on it.
            return run.release()
        if (refusal := run.refusal_of(told)) is not None:
            survive(lambda: run.context.log.warning("failed: %s", told))
            return refusal
        if error.__traceback__ is not None:
            # Leaves out the frame of this file, which is of no use to the callable's author.
            error = error.with_traceback(error.__traceback__.tb_next)
        if isinstance(told, Failure) and told is error:
            survive(lambda: run.context.log.info("failed: %s", error))
        else:
            survive(lambda: run.context.log.warning("failed", exc_info=error))
        return report(run.lease, error)

    def _suspension(
        self, run: Run, error: BaseException | None, output: object = None
    ) -> api.Suspension:
        """Return the suspension, whatever the callable did when it was told to stop."""
        if error is not None:
            survive(lambda: run.context.log.warning("failed while it stopped", exc_info=error))
        elif output is not None:
            survive(lambda: run.context.log.warning(_UNUSED))
        return run.suspension()

    def _finish(self, run: Run, result: Result | None) -> None:
        self._forget(run)
        if result is None:
            self._run(self._book.vacate(run.lease.lease_token))
        else:
            self._run(self._book.settle([result]))

    def _forget(self, run: Run) -> None:
        del self._runs[run.lease.lease_token]
        if run.context.has_waits:
            self._loop.call_soon_threadsafe(run.context.close)
        if run.began_at is not None:
            self._lane.learn(self._clock() - run.began_at)


def _release(lease: api.Lease) -> api.LeaseRef:
    return api.LeaseRef(execution_id=lease.execution.execution_id, lease_token=lease.lease_token)


def _remaining_s(lease: api.Lease, lease_s: float) -> float:
    """Return how long the attempt may run, independently of this machine's clock.

    A server before 0.2 names only two instants of its own clock. The lease had its full length when
    it was given.
    """
    if lease.HasField("attempt_remaining_ms"):
        return lease.attempt_remaining_ms / 1000
    deadline, expires = lease.attempt_deadline, lease.lease_expires_at
    between_s = deadline.seconds - expires.seconds + (deadline.nanos - expires.nanos) / 1e9
    return between_s + lease_s
