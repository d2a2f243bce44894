"""Owns handles: an execution that was enqueued, and the way to its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

from backlane.client.times import Slices
from backlane.sdk.blocking import finish
from backlane.sdk.ending import completed
from backlane.sdk.target import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from datetime import timedelta

    from backlane.client.calls import Calls
    from backlane.schema.explanation import Explanation
    from backlane.schema.records import BackgroundExecution
    from backlane.schema.runs import ExecutionRun
    from backlane.sdk.target import Target

T_co = TypeVar("T_co", covariant=True)


class _Handle(Generic[T_co]):
    """What both kinds of handles have; its calls are coroutines.

    Attributes:
        execution_id: the execution's id.
        existing: whether a request_id or dedup_key led to an execution that was there before.
        dependent_ids: the ids of what a redrive enqueued for dependents.
    """

    __slots__ = ("_calls", "_target", "dependent_ids", "execution_id", "existing")

    def __init__(
        self,
        calls: Calls,
        execution_id: str,
        target: Target | None,
        *,
        existing: bool = False,
        dependent_ids: Sequence[str] = (),
    ) -> None:
        """Point at an execution; made by a client."""
        self._calls = calls
        self._target = target
        self.execution_id = execution_id
        self.existing = existing
        self.dependent_ids: Sequence[str] = dependent_ids

    def __repr__(self) -> str:
        """Name the execution."""
        return f"<{type(self).__name__} {self.execution_id}>"

    async def _wait(self, timeout: float | timedelta | None) -> BackgroundExecution:
        return await self._calls.finished(self.execution_id, Slices(timeout))

    async def _result(self, timeout: float | timedelta | None) -> T_co:
        execution = completed(await self._wait(timeout))
        return cast("T_co", load(self._target, execution.output))


class Handle(_Handle[T_co]):
    """An execution, through the client that enqueued it.

    Attributes:
        execution_id: the execution's id.
        existing: whether a request_id or dedup_key led to an execution that was there before.
        dependent_ids: the ids of what a redrive enqueued for dependents.
    """

    __slots__ = ()

    def result(self, timeout: float | timedelta | None = None) -> T_co:
        """Wait for the end, and return the output as the callable returned it.

        Args:
            timeout: how long to wait, in seconds; None waits for ever.

        Raises:
            ExecutionEndedError: it failed, was cancelled, or timed out.
            NotFinishedError: the time is over; a `TimeoutError`.
            BacklaneError: the server cannot be asked.
        """
        return finish(self._result(timeout))

    def wait(self, timeout: float | timedelta | None = None) -> BackgroundExecution:
        """Wait for the end, however it comes, and return the record.

        Args:
            timeout: as `result` has it.

        Raises:
            NotFinishedError: the time is over.
            BacklaneError: the server cannot be asked.
        """
        return finish(self._wait(timeout))

    def get(self) -> BackgroundExecution:
        """Read the record as it is now."""
        return finish(self._calls.get(self.execution_id))

    def cancel(self) -> BackgroundExecution:
        """End it while it is queued, or ask its holder to stop."""
        return finish(self._calls.cancel(self.execution_id))

    def explain(self) -> Explanation:
        """Say why it waits: typed reasons with values, the most decisive first."""
        return finish(self._calls.explain(self.execution_id))

    def delete(self) -> None:
        """Delete it, once it is over; see `Client.delete`."""
        finish(self._calls.delete(self.execution_id))

    def execution_run(self) -> ExecutionRun:
        """Read what happened inside it: its run, with all steps."""
        return finish(self._calls.execution_run(self.execution_id))

    def children(self, *, full: bool = False) -> Iterator[BackgroundExecution]:
        """Yield the executions that it has spawned, newest first, a page at a time.

        Args:
            full: with input, output, context and metadata.
        """
        pages = self._calls.pages(None, None, full=full, parent=self.execution_id)
        while not pages.is_over:
            yield from finish(pages.next())

    def provide_input(
        self, key: str, value: object, *, request_id: str | None = None
    ) -> BackgroundExecution:
        """Provide an input that it waits for, or will wait for; see `Client.provide_input`."""
        given = self._calls.provide_input(self.execution_id, key, value, request_id=request_id)
        return finish(given)

    def pause(self) -> BackgroundExecution:
        """Pause it, until it is resumed."""
        return finish(self._calls.pause(self.execution_id))

    def resume(self) -> BackgroundExecution:
        """Resume it after a pause, or end all that it waits for."""
        return finish(self._calls.resume(self.execution_id))


class AsyncHandle(_Handle[T_co]):
    """An execution, through the client that enqueued it.

    Attributes:
        execution_id: the execution's id.
        existing: whether a request_id or dedup_key led to an execution that was there before.
        dependent_ids: the ids of what a redrive enqueued for dependents.
    """

    __slots__ = ()

    async def result(self, timeout: float | timedelta | None = None) -> T_co:
        """Wait for the end, and return the output; see `Handle.result`."""
        return await self._result(timeout)

    async def wait(self, timeout: float | timedelta | None = None) -> BackgroundExecution:
        """Wait for the end, however it comes, and return the record; see `Handle.wait`."""
        return await self._wait(timeout)

    async def get(self) -> BackgroundExecution:
        """Read the record as it is now."""
        return await self._calls.get(self.execution_id)

    async def cancel(self) -> BackgroundExecution:
        """End it while it is queued, or ask its holder to stop."""
        return await self._calls.cancel(self.execution_id)

    async def explain(self) -> Explanation:
        """Say why it waits: typed reasons with values, the most decisive first."""
        return await self._calls.explain(self.execution_id)

    async def delete(self) -> None:
        """Delete it, once it is over; see `Client.delete`."""
        await self._calls.delete(self.execution_id)

    async def execution_run(self) -> ExecutionRun:
        """Read what happened inside it: its run, with all steps."""
        return await self._calls.execution_run(self.execution_id)

    async def children(self, *, full: bool = False) -> AsyncIterator[BackgroundExecution]:
        """Yield the executions that it has spawned, newest first; see `Handle.children`."""
        pages = self._calls.pages(None, None, full=full, parent=self.execution_id)
        while not pages.is_over:
            for execution in await pages.next():
                yield execution

    async def provide_input(
        self, key: str, value: object, *, request_id: str | None = None
    ) -> BackgroundExecution:
        """Provide an input that it waits for, or will wait for; see `Client.provide_input`."""
        return await self._calls.provide_input(self.execution_id, key, value, request_id=request_id)

    async def pause(self) -> BackgroundExecution:
        """Pause it, until it is resumed."""
        return await self._calls.pause(self.execution_id)

    async def resume(self) -> BackgroundExecution:
        """Resume it after a pause, or end all that it waits for."""
        return await self._calls.resume(self.execution_id)
