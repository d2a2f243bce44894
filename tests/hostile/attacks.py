"""The attacks: each connects to a server and goes on until it is told to stop.

An attack returns when it has no more to do, or when the server has closed its connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import grpc
import h2.exceptions

from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from tests.hostile.attacker import Attacker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from multiprocessing.synchronize import Event

    Attack = Callable[[str], Awaitable[None]]

PRODUCER = "/backlane.v1.ExecutionService"
WORKER = "/backlane.v1.WorkerService"
TENANT = "attacked"
CALLS = 3_000
"""Three times what grpc takes at once by default."""
RECORD_BYTES = 900_000


@contextlib.asynccontextmanager
async def connected(target: str, *, window: int = 65535) -> AsyncIterator[Attacker]:
    """A connection of an attacker, which may end at any time."""
    host, _, port = target.rpartition(":")
    attacker = await Attacker.connect(host, int(port), window=window)
    try:
        with contextlib.suppress(h2.exceptions.ProtocolError):
            yield attacker
    finally:
        attacker.close()


async def prepare(target: str) -> None:
    """Give the attacked tenant some large records, for replies that are worth not reading."""
    async with grpc.aio.insecure_channel(target) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"{PRODUCER}/Enqueue"
        )
        large = "x" * RECORD_BYTES
        for _ in range(4):
            new = api.EnqueueRequest(tenant_id=TENANT, callable_name="never", input=large)
            await method(new.SerializeToString(), timeout=20)


def full_list() -> bytes:
    """A request whose reply has almost 4 MB."""
    request = api.ListRequest(tenant_id=TENANT, page_size=4, view=records.VIEW_FULL)
    return request.SerializeToString()


async def flood(target: str) -> None:
    """Send many calls at once, and read all replies."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"{PRODUCER}/GetQueueStats"
        )
        request = api.GetQueueStatsRequest(tenant_id=TENANT).SerializeToString()
        codes = [call.code() for call in [method(request, timeout=60) for _ in range(CALLS)]]
        found = set(await asyncio.gather(*codes))
    assert found == {grpc.StatusCode.OK}


async def unread_lists(target: str) -> None:
    """Ask for 300 large replies and read none of them, but answer pings."""
    async with connected(target, window=0) as attacker:
        for _ in range(300):
            await attacker.send_message(attacker.open(f"{PRODUCER}/List"), full_list(), end=True)
        await attacker.rest()


async def unread_streams(target: str) -> None:
    """Open streams of a producer, send invalid items, and read none of the outcomes."""
    item = api.EnqueueRequest(tenant_id="", callable_name="x" * 2000)
    message = api.EnqueueStreamRequest(items=[item] * 400).SerializeToString()
    async with connected(target, window=0) as attacker:
        streams = [attacker.open(f"{PRODUCER}/EnqueueStream") for _ in range(100)]
        for stream in streams:
            await attacker.send_message(stream, message)
        await attacker.rest()


async def slow_senders(target: str) -> None:
    """Announce large requests and send only a small part of each."""
    async with connected(target) as attacker:
        for _ in range(300):
            stream = attacker.open(f"{PRODUCER}/EnqueueBatch")
            await attacker.send(stream, b"\x00\x01\x00\x00\x00" + bytes(1000))
        await attacker.rest()


async def rapid_reset(target: str) -> None:
    """Open and reset streams as fast as possible (CVE-2023-44487)."""
    async with connected(target) as attacker:
        for _ in range(200):
            for _ in range(100):
                attacker.reset(attacker.open(f"{PRODUCER}/Get"))
            await attacker.flush()
        await attacker.rest()


async def silent_streams(target: str) -> None:
    """Open all streams that a server has, and say nothing on them."""
    async with connected(target) as attacker:
        for number in range(1_200):
            attacker.open(f"{WORKER}/Work" if number % 2 else f"{PRODUCER}/EnqueueStream")
        await attacker.flush()
        await attacker.rest()


async def forged_frames(target: str) -> None:
    """Send connections full of bytes that are no HTTP/2, and frames with forged headers."""
    chance = random.Random(1)  # noqa: S311  # no secrets
    for _ in range(200):
        async with connected(target) as attacker:
            attacker.open(f"{PRODUCER}/Get")
            await attacker.flush()
            size = chance.randrange(1, 200)
            header = size.to_bytes(3, "big") + chance.randbytes(6)
            await attacker.raw(header + chance.randbytes(size))
            await attacker.raw(chance.randbytes(1000))


ATTACKS: dict[str, Attack] = {
    "flood": flood,
    "unread lists": unread_lists,
    "unread streams": unread_streams,
    "slow senders": slow_senders,
    "rapid reset": rapid_reset,
    "silent streams": silent_streams,
    "forged frames": forged_frames,
}


async def honest_calls(target: str) -> None:
    """Make small calls from 100 callers, and read all replies."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"{PRODUCER}/GetQueueStats"
        )
        request = api.GetQueueStatsRequest(tenant_id=TENANT).SerializeToString()

        async def caller() -> None:
            while True:
                await method(request, timeout=60)

        await asyncio.gather(*(caller() for _ in range(100)))


async def honest_lists(target: str) -> None:
    """Ask for large replies from four callers, and read all of them."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"{PRODUCER}/List"
        )

        async def caller() -> None:
            while True:
                await method(full_list(), timeout=60)

        await asyncio.gather(*(caller() for _ in range(4)))


HONEST: dict[str, Attack] = {"honest calls": honest_calls, "honest lists": honest_lists}
"""Loads of the same calls by clients that read and send as they should, for comparison."""


def attack(name: str, target: str, began: Event) -> None:
    """Repeat an attack or an honest load until the process is ended; sets `began` at once."""

    async def repeat() -> None:
        while True:
            with contextlib.suppress(OSError):
                await (ATTACKS | HONEST)[name](target)

    began.set()
    asyncio.run(repeat())
