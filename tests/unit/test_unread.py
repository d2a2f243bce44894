"""Replies that clients do not read, and requests that do not arrive: limits in time and bytes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING

import grpc
import pytest

from backlane.errors import InvalidArgumentError, RateLimitedError, from_rpc_error
from backlane.server.bounds import COUNTED_BYTES
from backlane.server.calls import CONFIRMED, READS
from backlane.server.connections import close_connection
from backlane.v1 import admin_service_pb2, execution_service_pb2, worker_service_pb2
from tests.hostile.attacker import Attacker
from tests.unit.fake_core import ASK, LEASE, LIST
from tests.unit.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LARGE = bytes(4 * COUNTED_BYTES)


async def ticket_of(served: Served, count: int = 1) -> int:
    _, ticket, *_ = await served.core.until("call", count)
    assert isinstance(ticket, int)
    return ticket


@contextlib.asynccontextmanager
async def attacking(served: Served) -> AsyncIterator[Attacker]:
    """An attacker that never lets the server send a byte of a message."""
    host, _, port = served.target.rpartition(":")
    attacker = await Attacker.connect(host, int(port), window=0)
    try:
        yield attacker
    finally:
        attacker.close()


async def refused(call: grpc.aio.UnaryUnaryCall[bytes, bytes]) -> RateLimitedError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    error = from_rpc_error(raised.value)
    assert type(error) is RateLimitedError
    return error


async def unread_reply(
    served: Served, attacker: Attacker, path: str, size: int = len(LARGE)
) -> None:
    """A reply that the attacker asked for and does not read."""
    count = len(served.core.told("call"))
    stream = attacker.open(path)
    await attacker.send_message(stream, b"", end=True)
    served.core.complete(await ticket_of(served, count + 1), 0, bytes(size))


@pytest.mark.parametrize("path", [ASK, LEASE])
async def test_the_connection_of_a_client_that_does_not_read_a_reply_is_closed(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(max_in_flight=1, bounds={"write_limit_s": 0.1}) as served:
        async with attacking(served) as attacker:
            await unread_reply(served, attacker, path)
            await attacker.closed()
        served.core.is_echo = True
        with caplog.at_level(logging.WARNING):
            while True:  # Until grpc has told the server that the call is over.
                with contextlib.suppress(grpc.aio.AioRpcError):
                    assert await served.ask(b"one", path=ASK) == b"one"
                    break
        assert served.transport._unread.bytes == 0
    assert "it did not read a reply for 0.1 s" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_full_house_of_unread_replies_is_cleared_soon() -> None:
    bounds = {"hurry_s": 0.05}
    async with serving(max_in_flight=1, bounds=bounds) as served, attacking(served) as attacker:
        await unread_reply(served, attacker, ASK, size=100)
        await refused(served.ask(b"", path=ASK))
        await attacker.closed()


async def test_a_connection_with_its_share_of_unread_replies_gets_no_more_of_them() -> None:
    bounds = {"unread_bytes_per_peer": 2 * len(LARGE)}
    async with serving(bounds=bounds) as served, attacking(served) as attacker:
        for _ in range(3):
            await unread_reply(served, attacker, LIST)
        assert await attacker.refusal_of_some_call() == "8"
        assert served.transport._unread.bytes == 2 * len(LARGE)

        reply = served.ask(b"", path=LIST)
        served.core.complete(await ticket_of(served, 4), 0, LARGE)
        assert await reply == LARGE


async def test_a_reply_to_a_change_is_never_refused_but_its_connection_may_be_closed() -> None:
    bounds = {"unread_bytes_per_peer": len(LARGE)}
    async with serving(bounds=bounds) as served, attacking(served) as attacker:
        for _ in range(3):
            await unread_reply(served, attacker, ASK)
        await attacker.closed()
        assert attacker.refusals == []


async def test_replies_beyond_the_limit_of_the_server_are_refused() -> None:
    bounds = {"unread_bytes": 2 * len(LARGE)}
    async with serving(bounds=bounds) as served, attacking(served) as attacker:
        for _ in range(2):
            await unread_reply(served, attacker, LIST)
        tickets = []
        for number, path in ((3, LIST), (4, LEASE)):
            call = served.ask(b"", path=path)
            tickets.append(await ticket_of(served, number))
            served.core.complete(tickets[-1], 0, LARGE)
            error = await refused(call)
            assert error.metadata == {
                "unread_bytes": str(2 * len(LARGE)),
                "max_unread_bytes": str(2 * len(LARGE)),
            }
            assert error.retry_after_s == 1.0
        # The leases in the second reply are taken back.
        assert served.core.told("abandon") == [("abandon", tickets[1])]


async def test_a_request_that_does_not_arrive_is_refused_and_gives_its_place_back() -> None:
    async with serving(max_in_flight=1, bounds={"request_limit_s": 0.05}) as served:
        async with attacking(served) as attacker:
            stream = attacker.open(ASK)
            await attacker.send(stream, b"\x00\x00\x00\x03\xe8only a part")
            assert await attacker.refusal_of_some_call() == "8"
        served.core.is_echo = True
        assert await served.ask(b"one", path=ASK) == b"one"
    assert served.core.told("call") == []


async def test_calls_without_a_request_count_among_those_in_flight() -> None:
    async with serving(max_in_flight=1) as served, attacking(served) as attacker:
        attacker.open(ASK)
        await attacker.flush()
        while not served.transport._calls._arriving:  # noqa: ASYNC110  # grpc tells nobody
            await asyncio.sleep(0)
        error = await refused(served.ask(b"", path=ASK))
    assert error.metadata == {"max_in_flight": "1"}


async def test_a_call_that_ends_without_a_request_is_refused() -> None:
    async with serving() as served:
        method: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = served.channel.stream_unary(ASK)
        call = method()
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert served.core.told("call") == []
    assert isinstance(from_rpc_error(raised.value), InvalidArgumentError)


def test_each_unary_call_is_known_to_change_something_or_not() -> None:
    unary = {
        f"/{service.full_name}/{method.name}"
        for module in (execution_service_pb2, worker_service_pb2, admin_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if not method.client_streaming
    }
    changes = {path for path in unary if path not in READS | CONFIRMED}
    assert {path.rpartition("/")[2] for path in changes} == {
        "Enqueue", "EnqueueBatch", "Run", "Cancel", "RenewLeases", "Complete", "Fail", "Release",
        "Redrive", "DiscardDeadLetters", "ReportProgress", "Spawn",
        "ProvideInput", "Pause", "Resume", "ReportSteps", "Suspend", "SetLimits", "Delete",
    }  # fmt: skip
    assert unary >= READS | CONFIRMED


@pytest.mark.parametrize(
    ("host", "family", "dialled"),
    [
        ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
        ("::1", socket.AF_INET6, "::1"),
        ("::", socket.AF_INET6, "127.0.0.1"),
    ],
)
def test_a_connection_is_found_by_the_name_of_its_peer(
    host: str, family: socket.AddressFamily, dialled: str
) -> None:
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as listener:
        port = listener.getsockname()[1]
        with (
            socket.create_connection((dialled, port)) as client,
            socket.create_connection((dialled, port)) as bystander,
        ):
            served, _ = listener.accept()
            other, _ = listener.accept()
            own = client.getsockname()
            name = f"ipv6:%5B{own[0]}%5D" if ":" in own[0] else f"ipv4:{own[0]}"

            assert close_connection(f"{name}:{own[1]}")
            assert client.recv(1) == b""
            other.send(b"x")
            assert bystander.recv(1) == b"x"
            served.close()
            other.close()


@pytest.mark.parametrize("peer", ["unix:/tmp/socket", "", "ipv4:127.0.0.1:1"])
def test_a_peer_without_a_connection_closes_nothing(peer: str) -> None:
    assert not close_connection(peer)
