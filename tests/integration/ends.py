"""Statuses by name, and functions that wait for executions to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from backlane import Context  # noqa: TC001  # the worker reads the annotation
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable

    from tests.conformance.door import Door

QUEUED = records.BACKGROUND_EXECUTION_STATUS_QUEUED
COMPLETED = records.BACKGROUND_EXECUTION_STATUS_COMPLETED
FAILED = records.BACKGROUND_EXECUTION_STATUS_FAILED
CANCELLED = records.BACKGROUND_EXECUTION_STATUS_CANCELLED
TIMEOUT = records.BACKGROUND_EXECUTION_STATUS_TIMEOUT
PATIENCE_S = 20
"""How long anything may take, in seconds."""


def finished(producer: Door, *execution_ids: str) -> list[records.BackgroundExecution]:
    """Wait for the ends, and return the records."""
    request = api.WaitRequest(tenant_id=producer.tenant, execution_ids=execution_ids)
    answer = producer.producer.Wait(request, timeout=PATIENCE_S, wait_for_ready=True)
    assert answer.satisfied
    return [producer.get(execution_id) for execution_id in execution_ids]


def run_one(
    producer: Door,
    name: str,
    text: str | None = None,
    **config: Any,  # noqa: ANN401  # those of the message
) -> records.BackgroundExecution:
    """Enqueue one execution and return its record once it ended."""
    config_message = records.BackgroundExecutionConfig(**config)
    made = producer.enqueue(callable_name=name, input=text, config=config_message)
    [record] = finished(producer, made.execution_id)
    return record


def waiting(
    began: threading.Semaphore, reasons: list[object]
) -> Callable[[Context], Awaitable[None]]:
    """An async callable `wait_async` that signals its start, waits, and records why it stopped."""

    async def wait_async(ctx: Context) -> None:
        began.release()
        try:
            await asyncio.Event().wait()
        finally:
            reasons.append(ctx.stop_reason)

    return wait_async
