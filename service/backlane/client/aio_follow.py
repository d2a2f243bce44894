"""Owns the calls about executions that are there, and their connection, for an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from backlane import errors
from backlane.client.base import (
    WAIT_IDS_MAX,
    ClientBase,
    WaitResult,
    ids_of,
    is_bare,
    outcome_of,
    put_in_order,
)
from backlane.client.caller import AsyncCaller, closed
from backlane.client.handle import AsyncHandle
from backlane.client.times import Slices
from backlane.schema.records import BackgroundExecution, QueueStats
from backlane.v1 import execution_service_pb2 as api
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from datetime import timedelta
    from types import TracebackType

    from google.protobuf.message import Message

    from backlane.client.base import Named, Until
    from backlane.schema.records import Status


class AsyncFollower(ClientBase):
    """Follows executions: reads, lists, awaits and cancels them. `AsyncClient` makes them, too."""

    def _open(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls in progress end as cancelled. After a fork it does nothing."""
        if self._is_forked:
            return
        self._is_closed = True
        if self._loop is not None:
            self._ensure_open()
            self._caller.close()
            await self._channel.close()

    async def get(self, execution_id: str) -> BackgroundExecution:
        """Read one execution, in full.

        Raises:
            ExecutionNotFoundError: this tenant has none of that id.
        """
        answer = await self._call("Get", self._get_request(execution_id))
        return BackgroundExecution(answer.execution)

    def handle(self, execution_id: str) -> AsyncHandle[Any]:
        """Return a handle to an execution by its id; nothing is asked of the server."""
        return AsyncHandle(self, execution_id, None, existing=True)

    async def list(
        self, *, status: Status | str | None = None, limit: int | None = None, full: bool = False
    ) -> AsyncIterator[BackgroundExecution]:
        """Yield executions, newest first, a page at a time as they are drawn.

        Args:
            status: only those that stand there.
            limit: how many at most; None for all.
            full: with input, output, context and metadata.
        """
        request = self._list_request(status, limit, full=full)
        left = limit
        while left is None or left > 0:
            page = await self._call("List", request)
            for proto in page.executions[:left]:
                yield BackgroundExecution(proto)
            if not page.next_page_token:
                return
            left = None if left is None else left - len(page.executions)
            request.page_token = page.next_page_token

    async def wait(
        self,
        executions: Iterable[Named | str],
        *,
        until: Until = "all",
        timeout: float | timedelta | None = None,
    ) -> WaitResult:
        """Wait until executions have ended, however they do.

        Args:
            executions: handles or ids; one that is named twice counts once for `until`.
            until: `all`, `any`, or how many. Other than `all` it takes 1 000 at most.
            timeout: how long to wait, in seconds; None waits for ever, 0 looks once.

        Raises:
            ValueError: there is nothing to wait for, or `until` or `timeout` does not fit.
            BacklaneError: the server cannot be asked.
        """
        named = ids_of(executions, until)
        ids = list(dict.fromkeys(named))
        slices = Slices(timeout)
        parts = [
            await self._wait_for(ids[start : start + WAIT_IDS_MAX], until, slices)
            for start in range(0, len(ids), WAIT_IDS_MAX)
        ]
        return put_in_order(named, parts)

    async def cancel(self, execution: Named | str) -> BackgroundExecution:
        """End a queued execution, or ask the holder of a running one to stop.

        Raises:
            TransitionNotAllowedError: it has ended already.
            ExecutionNotFoundError: this tenant has none of that id.
        """
        [execution_id] = ids_of([execution], "all")
        answer = await self._call("Cancel", self._cancel_request(execution_id))
        return BackgroundExecution(answer.execution)

    async def peek(
        self, *, limit: int = 10, callables: Sequence[str] = ()
    ) -> Sequence[BackgroundExecution]:
        """Return the next executions in the order they would be leased, leasing none.

        Args:
            limit: how many at most, 1 to 1 000.
            callables: those to look at: names, `prefix.*` or `*`; none means all.
        """
        answer = await self._call("Peek", self._peek_request(limit, callables))
        shown = [BackgroundExecution(proto) for proto in answer.executions]
        return [await self.get(one.execution_id) if is_bare(one) else one for one in shown]

    async def stats(self) -> QueueStats:
        """Count what is unfinished."""
        request = api.GetQueueStatsRequest(tenant_id=self.tenant)
        return QueueStats(await self._call("GetQueueStats", request))

    async def _finished(self, execution_id: str, slices: Slices) -> BackgroundExecution:
        """Wait for one execution, and read it in full."""
        part = await self._wait_for([execution_id], "all", slices)
        [outcome] = part.outcomes
        if isinstance(outcome, errors.BacklaneError):
            raise self._explained(outcome)
        if not part.satisfied:
            raise errors.NotFinishedError(execution_id, outcome.status, slices.timeout_s or 0.0)
        return await self.get(execution_id)

    async def _wait_for(self, ids: Sequence[str], until: Until, slices: Slices) -> WaitResult:
        request = self._wait_request(ids, until)
        while True:
            answer = await self._call("Wait", request, slices=slices)
            if answer.satisfied or slices.is_over:
                break
        outcomes = [outcome_of(outcome) for outcome in answer.outcomes]
        shown = [
            await self.get(ids[index]) if is_bare(outcome) else outcome
            for index, outcome in enumerate(outcomes)
        ]
        return WaitResult(shown, answer.satisfied)

    def _ensure_open(self) -> None:
        """Open the channel in the loop of the first call, which it belongs to.

        Raises:
            RuntimeError: another loop runs by now.
            CallCancelledError: the client was closed before its first call.
            OSError: a file of its TLS settings cannot be read.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            raise RuntimeError("this AsyncClient belongs to another event loop: make one for each")
        if self._is_closed:
            raise closed()
        self._open_in_loop()
        self._loop = loop

    def _open_in_loop(self) -> None:
        self._channel = self.endpoint.open_aio()
        self._stub = ExecutionServiceStub(self._channel)
        self._caller = AsyncCaller(self._channel, self.endpoint, waits=self._waits)

    async def _call(
        self,
        name: str,
        request: Message,
        timeout_s: float | None = None,
        slices: Slices | None = None,
    ) -> Any:  # noqa: ANN401  # each call has an answer of its own
        self._check_process()
        self._ensure_open()
        timeout_s = self._call_timeout_s if timeout_s is None else timeout_s
        method = getattr(self._stub, name)
        return await self._caller.call(method, request, timeout_s, slices)
