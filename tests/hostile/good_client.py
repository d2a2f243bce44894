"""Owns the good client of an attack: it enqueues, leases and completes, one after another."""

from __future__ import annotations

import time
import uuid
from typing import Any, Self

import grpc

from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub

CALL_TIMEOUT_S = 20.0
RETRIES = 50
"""Far more than a client needs: a refusal says when to try again."""


class GoodClient:
    """A connection with a tenant of its own. It repeats what is refused for a time, as clients do.

    Attributes:
        latencies_s: how long each call took, in seconds, refusals and waits included.
        refusals: how often it was told to try again later.
    """

    def __init__(self, target: str) -> None:
        self.latencies_s: list[float] = []
        self.refusals = 0
        self._tenant = f"good-{uuid.uuid4().hex}"
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(target, options=options)
        # The generated stubs are typed for channels of threads.
        channel: Any = self._channel
        self._producer: Any = ExecutionServiceStub(channel)
        self._worker: Any = WorkerServiceStub(channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def live(self, executions: int) -> None:
        """See so many executions through, from enqueue to completion."""
        for _ in range(executions):
            await self.see_one_through()

    async def see_one_through(self) -> None:
        """Enqueue one execution, lease it, and complete it."""
        new = api.EnqueueRequest(tenant_id=self._tenant, callable_name="c", input="1")
        await self._call(self._producer.Enqueue, new)
        poll = work.LeaseRequest(
            worker_id="w", callables=["*"], tenant_ids=[self._tenant], wait_ms=10_000
        )
        [lease] = (await self._call(self._worker.Lease, poll)).leases
        done = work.CompleteResult(
            execution_id=lease.execution.execution_id, lease_token=lease.lease_token
        )
        report = work.CompleteRequest(results=[done])
        [outcome] = (await self._call(self._worker.Complete, report)).outcomes
        assert outcome.HasField("result"), outcome

    async def _call(self, method: Any, request: object) -> Any:  # noqa: ANN401  # each has its own
        began = time.monotonic()
        for _ in range(RETRIES):
            try:
                reply = await method(request, timeout=CALL_TIMEOUT_S, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                self.refusals += 1
            else:
                self.latencies_s.append(time.monotonic() - began)
                return reply
        raise AssertionError(f"refused {RETRIES} times in a row")
