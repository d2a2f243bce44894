"""Owns the calls about executions that are there, and their connection, for threads."""

from __future__ import annotations

import atexit
import weakref
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

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
from backlane.client.caller import Caller
from backlane.client.handle import Handle
from backlane.client.times import Slices
from backlane.schema.records import BackgroundExecution, QueueStats
from backlane.v1 import execution_service_pb2 as api
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import timedelta
    from types import TracebackType

    import grpc

    from backlane.client.base import Named, Until
    from backlane.schema.records import Status

Request = TypeVar("Request")
Answer = TypeVar("Answer")


_OPEN: Final[weakref.WeakSet[Follower]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what a program left open: at its very end gRPC would wait for threads that are gone."""
    for client in list(_OPEN):
        client.close()


class Follower(ClientBase):
    """Follows executions: reads, lists, awaits and cancels them. `Client` makes them, too."""

    def _open(self) -> None:
        self._channel = self.endpoint.open()
        _OPEN.add(self)
        self._stub = ExecutionServiceStub(self._channel)
        self._caller = Caller(self._channel, self.endpoint, waits=self._waits)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the channel; calls in progress end as cancelled. After a fork it does nothing."""
        if self._is_forked:
            # gRPC's locks are as the fork found them: closing could wait for ever.
            return
        _OPEN.discard(self)
        self._caller.close()
        self._channel.close()

    def get(self, execution_id: str) -> BackgroundExecution:
        """Read one execution, in full.

        Raises:
            ExecutionNotFoundError: this tenant has none of that id.
        """
        answer = self._call(self._stub.Get, self._get_request(execution_id))
        return BackgroundExecution(answer.execution)

    def handle(self, execution_id: str) -> Handle[Any]:
        """Return a handle to an execution by its id; nothing is asked of the server."""
        return Handle(self, execution_id, None, existing=True)

    def list(
        self, *, status: Status | str | None = None, limit: int | None = None, full: bool = False
    ) -> Iterator[BackgroundExecution]:
        """Yield executions, newest first, a page at a time as they are drawn.

        Args:
            status: only those that stand there.
            limit: how many at most; None for all.
            full: with input, output, context and metadata.
        """
        request = self._list_request(status, limit, full=full)
        left = limit
        while left is None or left > 0:
            page = self._call(self._stub.List, request)
            for proto in page.executions[:left]:
                yield BackgroundExecution(proto)
            if not page.next_page_token:
                return
            left = None if left is None else left - len(page.executions)
            request.page_token = page.next_page_token

    def wait(
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
            self._wait_for(ids[start : start + WAIT_IDS_MAX], until, slices)
            for start in range(0, len(ids), WAIT_IDS_MAX)
        ]
        return put_in_order(named, parts)

    def cancel(self, execution: Named | str) -> BackgroundExecution:
        """End a queued execution, or ask the holder of a running one to stop.

        Raises:
            TransitionNotAllowedError: it has ended already.
            ExecutionNotFoundError: this tenant has none of that id.
        """
        [execution_id] = ids_of([execution], "all")
        answer = self._call(self._stub.Cancel, self._cancel_request(execution_id))
        return BackgroundExecution(answer.execution)

    def peek(
        self, *, limit: int = 10, callables: Sequence[str] = ()
    ) -> Sequence[BackgroundExecution]:
        """Return the next executions in the order they would be leased, leasing none.

        Args:
            limit: how many at most, 1 to 1 000.
            callables: those to look at: names, `prefix.*` or `*`; none means all.
        """
        answer = self._call(self._stub.Peek, self._peek_request(limit, callables))
        shown = [BackgroundExecution(proto) for proto in answer.executions]
        return [self.get(one.execution_id) if is_bare(one) else one for one in shown]

    def stats(self) -> QueueStats:
        """Count what is unfinished."""
        request = api.GetQueueStatsRequest(tenant_id=self.tenant)
        return QueueStats(self._call(self._stub.GetQueueStats, request))

    def _finished(self, execution_id: str, slices: Slices) -> BackgroundExecution:
        """Wait for one execution, and read it in full."""
        part = self._wait_for([execution_id], "all", slices)
        [outcome] = part.outcomes
        if isinstance(outcome, errors.BacklaneError):
            raise self._explained(outcome)
        if not part.satisfied:
            raise errors.NotFinishedError(execution_id, outcome.status, slices.timeout_s or 0.0)
        return self.get(execution_id)

    def _wait_for(self, ids: Sequence[str], until: Until, slices: Slices) -> WaitResult:
        request = self._wait_request(ids, until)
        while True:
            answer = self._call(self._stub.Wait, request, slices=slices)
            if answer.satisfied or slices.is_over:
                break
        outcomes = [outcome_of(outcome) for outcome in answer.outcomes]
        shown = [
            self.get(ids[index]) if is_bare(outcome) else outcome
            for index, outcome in enumerate(outcomes)
        ]
        return WaitResult(shown, answer.satisfied)

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        timeout_s: float | None = None,
        slices: Slices | None = None,
    ) -> Answer:
        self._check_process()
        timeout_s = self._call_timeout_s if timeout_s is None else timeout_s
        return self._caller.call(method, request, timeout_s, slices)
