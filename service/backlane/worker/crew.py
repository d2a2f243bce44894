"""Owns what runs: from a lease that arrived to its result, on an event loop or a thread.

Async callables run on the worker's loop, plain ones on its threads, but for what these return to
be awaited. Each lease ends with one word to the book: a result, or that there is nothing to say.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from backlane.v1 import worker_service_pb2 as api
from backlane.worker.callable import InputError, OutputError
from backlane.worker.context import Context
from backlane.worker.failure import Failure, refused, report
from backlane.worker.threads import survive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence

    from backlane.schema.options import Category
    from backlane.worker.book import Book, Result
    from backlane.worker.callable import BackgroundCallable
    from backlane.worker.context import StopReason
    from backlane.worker.threads import DaemonPool

OUTPUT_BYTES_MAX: Final = 3 << 20
"""No server can be set to take more. A larger one would not fit the transport, and break the
stream of all the others."""

log = logging.getLogger("backlane.worker")


class Run:
    """A lease that waits, runs, or unwinds."""

    __slots__ = ("callable", "context", "ends_at", "has_begun", "is_on_loop", "lease", "task")

    def __init__(
        self,
        lease: api.Lease,
        called: BackgroundCallable[..., Any],
        context: Context,
        ends_at: float,
    ) -> None:
        """Describe a run that has not begun; `ends_at` is on the monotonic clock, in seconds."""
        self.lease = lease
        self.callable = called
        self.context = context
        self.ends_at = ends_at
        self.has_begun = False
        self.is_on_loop = called.is_async
        # Set by the task itself, once it has begun.
        self.task: asyncio.Task[None] | None = None

    def is_overdue(self, now: float) -> bool:
        """Return whether its time is over and nobody has told it to stop."""
        return self.ends_at < now and self.context.stop_reason is None

    def release(self) -> api.LeaseRef:
        """Give it back."""
        execution_id = self.lease.execution.execution_id
        return api.LeaseRef(execution_id=execution_id, lease_token=self.lease.lease_token)

    def refuse(
        self, code: str, message: str, category: Category = "validation_error"
    ) -> api.Failure:
        """Fail it for what went in or came out."""
        failure = refused(code, message, category)
        failure.execution_id = self.lease.execution.execution_id
        failure.lease_token = self.lease.lease_token
        return failure


class Crew:
    """Runs the leases of one lane."""

    def __init__(
        self,
        book: Book,
        callables: Mapping[str, BackgroundCallable[..., Any]],
        worker_id: str,
        lease_s: float,
        loop: asyncio.AbstractEventLoop,
        pool: DaemonPool,
    ) -> None:
        """Begin with nothing.

        Args:
            book: is told what became of each lease.
            callables: what can be run, by name.
            worker_id: the worker's name.
            lease_s: how long a lease is when it begins, in seconds.
            loop: runs async callables, on a thread of its own.
            pool: runs plain ones.
        """
        self._book = book
        self._callables = callables
        self._worker_id = worker_id
        self._lease_s = lease_s
        self._loop = loop
        self._pool = pool
        self._runs: dict[str, Run] = {}
        self._done: list[Result] = []

    # From the thread that reads the stream.

    def take_on(self, leases: Sequence[api.Lease]) -> None:
        """Run these."""
        self._book.arrive(leases)
        runs = [run for lease in leases if (run := self._admit(lease)) is not None]
        on_loop = [run for run in runs if run.is_on_loop]
        if on_loop:
            self._loop.call_soon_threadsafe(self._begin, on_loop)
        for run in runs:
            if not run.is_on_loop:
                # What one execution sets of context variables is not the next one's to see.
                alone = contextvars.Context()
                self._pool.submit(functools.partial(alone.run, self._run_plain, run))

    def cancel(self, tokens: Iterable[str]) -> None:
        """Ask these to stop, because a client wants it."""
        self._stop(tokens, "requested")

    def lose(self, tokens: Iterable[str]) -> None:
        """Stop these; they are another's now."""
        self._stop(tokens, "lost")

    # From any thread.

    def stop_all(self, reason: StopReason) -> None:
        """Stop whatever has not ended."""
        self._stop(list(self._runs), reason)

    def stop_overdue(self) -> None:
        """Stop those whose attempt's time is over; the server's clock says what follows."""
        now = time.monotonic()
        overdue = [token for token, run in list(self._runs.items()) if run.is_overdue(now)]
        self._stop(overdue, "timeout")

    def running(self) -> list[Run]:
        """Return what has begun and not ended."""
        return [run for run in list(self._runs.values()) if run.has_begun]

    def _admit(self, lease: api.Lease) -> Run | None:
        called = self._callables.get(lease.execution.callable_name)
        if called is None:
            # Only a server that sends what was not offered brings this about.
            self._book.settle([_release(lease)])
            return None
        remaining_s = _remaining_s(lease, self._lease_s)
        context = Context(lease, self._worker_id, remaining_s)
        run = Run(lease, called, context, time.monotonic() + remaining_s)
        if lease.execution.cancel_requested:
            context.stop("requested")
        self._runs[lease.lease_token] = run
        return run

    def _stop(self, tokens: Iterable[str], reason: StopReason) -> None:
        for token in tokens:
            run = self._runs.get(token)
            # Once it is over for good, another cancel would only break into its cleanup.
            if run is None or run.context.stop_reason in {reason, "lost", "timeout"}:
                continue
            run.context.stop(reason)
            if run.is_on_loop:
                self._loop.call_soon_threadsafe(self._cancel, run)

    # On the loop.

    def _begin(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self._start(self._run_async(run))

    def _start(self, running: Coroutine[Any, Any, None]) -> None:
        # The loop holds a task until it has begun, and then the run does.
        self._loop.create_task(running)

    def _cancel(self, run: Run) -> None:
        # A task that has not begun looks for itself; cancelled, it would never come to that.
        if run.task is not None:
            run.task.cancel()

    async def _run_async(self, run: Run) -> None:
        try:
            run.task = asyncio.current_task()
            result = self._unwanted(run)
            if result is None:
                arguments = self._arguments(run)
                result = self._completion(run, await run.callable.function(*arguments))
        except BaseException as error:  # noqa: BLE001  # whatever it raises ends its attempt
            self._finish_on_loop(run, self._after(run, error))
        else:
            self._finish_on_loop(run, result)

    async def _go_on(self, run: Run, output: Awaitable[object]) -> None:
        """Await what a plain callable returned: it is one around an async function."""
        try:
            run.task = asyncio.current_task()
            if run.context.stop_reason is not None:
                if inspect.iscoroutine(output):
                    output.close()
                raise asyncio.CancelledError  # noqa: TRY301  # as if it had come while it waited
            result = self._completion(run, await output)
        except BaseException as error:  # noqa: BLE001  # whatever it raises ends its attempt
            self._finish_on_loop(run, self._after(run, error))
        else:
            self._finish_on_loop(run, result)

    def _finish_on_loop(self, run: Run, result: Result | None) -> None:
        """Gather the results of one turn of the loop: one word to the book serves them all."""
        if result is None:
            self._finish(run, None)
            return
        del self._runs[run.lease.lease_token]
        self._done.append(result)
        if len(self._done) == 1:
            self._loop.call_soon(self._settle_done)

    def _settle_done(self) -> None:
        done, self._done = self._done, []
        self._book.settle(done)

    # On a thread.

    def _run_plain(self, run: Run) -> None:
        try:
            result = self._unwanted(run)
            if result is None:
                output = run.callable.function(*self._arguments(run))
                if inspect.isawaitable(output):
                    run.is_on_loop = True
                    self._loop.call_soon_threadsafe(self._start, self._go_on(run, output))
                    return
                result = self._completion(run, output)
        except BaseException as error:  # noqa: BLE001  # whatever it raises ends its attempt
            result = self._after(run, error)
        self._finish(run, result)

    # On either.

    def _unwanted(self, run: Run) -> Result | None:
        """Begin a run, or return it unbegun where nobody wants it any more.

        Raises:
            asyncio.CancelledError: it is lost, so that nothing may be said of it.
        """
        if run.context.stop_reason in {"lost", "timeout"}:
            raise asyncio.CancelledError
        if run.context.stop_reason is not None or self._book.is_draining:
            return run.release()
        run.has_begun = True
        return None

    def _arguments(self, run: Run) -> tuple[object, ...]:
        loaded = run.callable.load_input(run.context.input)
        return (run.context, *loaded) if run.callable.takes_context else loaded

    def _completion(self, run: Run, output: object) -> Result:
        completion = api.CompleteResult(
            execution_id=run.lease.execution.execution_id, lease_token=run.lease.lease_token
        )
        if output is not None:
            value = run.callable.dump_output(output)
            if value.ByteSize() > OUTPUT_BYTES_MAX:
                size = f"{value.ByteSize()} bytes, above {OUTPUT_BYTES_MAX}"
                return run.refuse("OUTPUT_TOO_LARGE", f"the output has {size}")
            completion.output.CopyFrom(value)
        return completion

    def _after(self, run: Run, error: BaseException) -> Result | None:
        """Say what an exception means; None means that nothing is to be said."""
        try:
            return self._meaning(run, error)
        except BaseException:  # noqa: BLE001  # without a result its lease would never end
            message = "it raised an exception that cannot be read"
            return run.refuse("UNPRINTABLE_ERROR", message, "tool_error")

    def _meaning(self, run: Run, error: BaseException) -> Result | None:
        reason = run.context.stop_reason
        if reason == "lost":
            return None
        if isinstance(error, asyncio.CancelledError) and reason is not None:
            return None if reason == "timeout" else run.release()
        if reason == "drain":
            # It was told to stop, by nobody's fault: no attempt may be spent on it.
            return run.release()
        if isinstance(error, InputError | OutputError):
            survive(lambda: run.context.log.warning("failed: %s", error))
            is_input = isinstance(error, InputError)
            return run.refuse("INVALID_INPUT" if is_input else "INVALID_OUTPUT", str(error))
        if error.__traceback__ is not None:
            # The frame of this file says nothing to whoever wrote the callable.
            error = error.with_traceback(error.__traceback__.tb_next)
        if isinstance(error, Failure):
            survive(lambda: run.context.log.info("failed: %s", error))
        else:
            survive(lambda: run.context.log.warning("failed", exc_info=error))
        return report(run.lease, error)

    def _finish(self, run: Run, result: Result | None) -> None:
        token = run.lease.lease_token
        del self._runs[token]
        if result is None:
            self._book.vacate(token)
        else:
            self._book.settle([result])


def _release(lease: api.Lease) -> api.LeaseRef:
    return api.LeaseRef(execution_id=lease.execution.execution_id, lease_token=lease.lease_token)


def _remaining_s(lease: api.Lease, lease_s: float) -> float:
    """Return how long the attempt may run, whatever this machine's clock shows.

    Both instants are of the server's clock, and the lease had its full length when it was given.
    """
    deadline, expires = lease.attempt_deadline, lease.lease_expires_at
    between_s = deadline.seconds - expires.seconds + (deadline.nanos - expires.nanos) / 1e9
    return between_s + lease_s
