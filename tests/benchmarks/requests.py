"""Owns the requests of the benchmark, encoded once, so that mostly the server is measured."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Final

import grpc

from backlane.v1 import execution_service_pb2 as api
from tests.benchmarks.bench import BATCH, CALLABLE, INPUT_BYTES, TENANT

ENQUEUE: Final = "/backlane.v1.ExecutionService/Enqueue"
ENQUEUE_BATCH: Final = "/backlane.v1.ExecutionService/EnqueueBatch"
CHANNEL_OPTIONS: Final[Sequence[tuple[str, int]]] = (
    ("grpc.max_receive_message_length", 20 << 20),
    ("grpc.max_send_message_length", 20 << 20),
)
BATCHES_IN_FLIGHT: Final = 4
CALL_TIMEOUT_S: Final = 60.0

RawCall = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
"""A unary call with encoded messages."""


def enqueue_request() -> api.EnqueueRequest:
    """Return one execution of the benchmark."""
    text = "x" * INPUT_BYTES
    return api.EnqueueRequest(tenant_id=TENANT, callable_name=CALLABLE, input=text)


def batch_request(items: int = BATCH) -> bytes:
    """Return an encoded batch."""
    return api.EnqueueBatchRequest(
        tenant_id=TENANT, items=[enqueue_request()] * items
    ).SerializeToString()


def raw_call(channel: grpc.aio.Channel, method: str) -> RawCall:
    """Return a unary call without (de)serialisers."""
    call: RawCall = channel.unary_unary(method, request_serializer=None, response_deserializer=None)
    return call


def enqueue_batches(target: str, executions: int) -> float:
    """Enqueue that many executions in batches, a few in flight, and return the rate per second."""
    return asyncio.run(_enqueue_batches(target, executions))


async def _enqueue_batches(target: str, executions: int) -> float:
    async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        call = raw_call(channel, ENQUEUE_BATCH)
        await channel.channel_ready()
        began = time.perf_counter()
        await send_batches(call, executions)
        return executions / (time.perf_counter() - began)


async def send_batches(call: RawCall, executions: int) -> None:
    """Send batches that hold that many executions, a few in flight."""
    request = batch_request()
    numbers = itertools.count()

    async def sender() -> None:
        while next(numbers) * BATCH < executions:
            await call(request, timeout=CALL_TIMEOUT_S)

    await asyncio.gather(*(sender() for _ in range(BATCHES_IN_FLIGHT)))
