"""A plain client without the SDK: one channel, and a method for each call of producers.

It repeats nothing by itself and keeps nothing in memory. Every call raises a
`backlane.errors.BacklaneError`; `until_available` is there for callers that outlive a server.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration

from backlane import errors
from backlane.channel import Endpoint
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from backlane.v1.execution_pb2 import BackgroundExecutionStatus as Status
    from backlane.v1.execution_pb2 import View

Request = TypeVar("Request")
Answer = TypeVar("Answer")

LIST_PAGE_SIZE: Final = 1000
WAIT_IDS_MAX: Final = 1000
RETRY_PAUSE_S: Final = 0.02


class PlainClient:
    """The calls of `ExecutionService` for one tenant. Safe to use from many threads."""

    def __init__(self, target: str, tenant_id: str, *, timeout_s: float = 30.0) -> None:
        """Open a channel; it connects with the first call.

        Args:
            target: the server's address, `host:port`.
            tenant_id: whose executions they are.
            timeout_s: how long one call may take, in seconds; it includes the wait for a server
                that is away.
        """
        self._channel = Endpoint.of(target).open()
        self._stub = ExecutionServiceStub(self._channel)
        self._tenant_id = tenant_id
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the channel."""
        self.close()

    def close(self) -> None:
        """Close the channel; calls in progress end as cancelled."""
        self._channel.close()

    def enqueue(
        self,
        callable_name: str,
        text: str | None = None,
        *,
        request_id: str = "",
        config: records.BackgroundExecutionConfig | None = None,
    ) -> api.EnqueueResponse:
        """Enqueue one execution with a text as its input."""
        request = api.EnqueueRequest(
            tenant_id=self._tenant_id,
            callable_name=callable_name,
            input=text,
            request_id=request_id,
            config=config,
        )
        return self._call(self._stub.Enqueue, request)

    def enqueue_batch(
        self, items: Iterable[api.EnqueueRequest], *, request_id: str = ""
    ) -> api.EnqueueBatchResponse:
        """Enqueue all items or none; the items need no tenant."""
        request = api.EnqueueBatchRequest(
            tenant_id=self._tenant_id, items=items, request_id=request_id
        )
        return self._call(self._stub.EnqueueBatch, request)

    def enqueue_stream(
        self, messages: Iterator[api.EnqueueStreamRequest]
    ) -> Iterator[api.EnqueueOutcome]:
        """Send messages as they come and yield one outcome per item, in the order sent.

        The items carry their tenant themselves. There is no timeout: the stream lives as long as
        `messages` does.
        """
        try:
            for answer in self._stub.EnqueueStream(messages, wait_for_ready=True):
                yield from answer.outcomes
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from error

    def get(self, execution_id: str) -> records.BackgroundExecution:
        """Read one execution, in full."""
        request = api.GetRequest(tenant_id=self._tenant_id, execution_id=execution_id)
        return self._call(self._stub.Get, request).execution

    def list_all(
        self,
        status: Status.ValueType = records.BACKGROUND_EXECUTION_STATUS_UNSPECIFIED,
        view: View.ValueType = records.VIEW_BASIC,
    ) -> Iterator[records.BackgroundExecution]:
        """Yield every execution with a status, newest first, page by page."""
        request = api.ListRequest(
            tenant_id=self._tenant_id, status=status, page_size=LIST_PAGE_SIZE, view=view
        )
        while True:
            page = self._call(self._stub.List, request)
            yield from page.executions
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def wait(self, execution_ids: Sequence[str], *, timeout_s: float) -> api.WaitResponse:
        """Wait until all of at most `WAIT_IDS_MAX` executions ended, or the time is up."""
        duration = Duration()
        duration.FromMilliseconds(round(timeout_s * 1000))
        request = api.WaitRequest(
            tenant_id=self._tenant_id,
            execution_ids=execution_ids,
            wait_for=api.WAIT_FOR_ALL,
            timeout=duration,
        )
        return self._call(self._stub.Wait, request, extra_s=timeout_s)

    def cancel(self, execution_id: str) -> records.BackgroundExecution:
        """Cancel a queued execution, or ask the worker of a running one to stop."""
        request = api.CancelRequest(tenant_id=self._tenant_id, execution_id=execution_id)
        return self._call(self._stub.Cancel, request).execution

    def queue_stats(self) -> api.GetQueueStatsResponse:
        """Count the tenant's unfinished executions."""
        request = api.GetQueueStatsRequest(tenant_id=self._tenant_id)
        return self._call(self._stub.GetQueueStats, request)

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        extra_s: float = 0.0,
    ) -> Answer:
        try:
            # Without `wait_for_ready` a call to a server that restarts fails at once, and between
            # such calls gRPC looks at its sockets only every 5 s.
            return method(request, timeout=self._timeout_s + extra_s, wait_for_ready=True)
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from error


def until_available(call: Callable[[], Answer], *, timeout_s: float) -> Answer:
    """Repeat a call while the server is away; the call has to be safe to repeat.

    Args:
        call: what to do; what it creates carries a request_id.
        timeout_s: after how many seconds the last error is raised.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return call()
        except (errors.UnavailableError, errors.CallCancelledError):
            if time.monotonic() >= deadline:
                raise
            time.sleep(RETRY_PAUSE_S)
