"""grpc.health.v1: Check, List and Watch."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import message_factory
from grpc_health.v1 import health_pb2

from backlane.errors import InvalidArgumentError, from_rpc_error
from backlane.server.descriptors import served_pool
from backlane.server.health import NOT_SERVING, SERVICE_UNKNOWN, SERVICES, SERVING, Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    WatchCall = grpc.aio.UnaryStreamCall[
        health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    ]
    WatchMethod = grpc.aio.UnaryStreamMultiCallable[
        health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    ]
    BytesMethod = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
    ListMethod = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]

POOL = served_pool()
WORKER = "backlane.v1.WorkerService"


@contextlib.asynccontextmanager
async def serving(max_watches: int = 10) -> AsyncIterator[tuple[Health, grpc.aio.Channel]]:
    health = Health(POOL, max_watches)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((health.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield health, channel
    finally:
        await server.stop(None)


async def check(channel: grpc.aio.Channel, service: str) -> int:
    method = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    response = await method(health_pb2.HealthCheckRequest(service=service))
    return response.status


def watch(channel: grpc.aio.Channel, service: str) -> WatchCall:
    method: WatchMethod = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    return method(health_pb2.HealthCheckRequest(service=service))


async def news(call: WatchCall) -> int:
    response = await call.read()
    assert isinstance(response, health_pb2.HealthCheckResponse)
    return response.status


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_has_the_status_of_the_server(service: str) -> None:
    async with serving() as (health, channel):
        assert await check(channel, service) == NOT_SERVING
        health.set_serving(is_serving=True)
        assert await check(channel, service) == SERVING


async def test_an_unknown_service_is_not_found() -> None:
    async with serving() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await check(channel, "backlane.v1.Nothing")

    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_list_has_every_service() -> None:
    response_class = message_factory.GetMessageClass(
        POOL.FindMessageTypeByName("grpc.health.v1.HealthListResponse")
    )
    async with serving() as (health, channel):
        health.set_serving(is_serving=True)
        method: ListMethod = channel.unary_unary("/grpc.health.v1.Health/List")
        listing = response_class.FromString(await method(b""))

    listed = listing.statuses.items()  # type: ignore[attr-defined]  # the class was made just now
    statuses = {name: health.status for name, health in listed}
    assert statuses == dict.fromkeys(SERVICES, SERVING)


async def test_watchers_hear_of_every_change_and_one_that_leaves_takes_none_along() -> None:
    async with serving() as (health, channel):
        first, second = watch(channel, ""), watch(channel, WORKER)
        assert [await news(first), await news(second)] == [NOT_SERVING, NOT_SERVING]
        health.set_serving(is_serving=True)
        assert [await news(first), await news(second)] == [SERVING, SERVING]
        first.cancel()
        health.set_serving(is_serving=False)
        assert await news(second) == NOT_SERVING
        second.cancel()


async def test_a_watched_service_that_is_unknown_says_so_and_stays_watched() -> None:
    async with serving() as (_, channel):
        call = watch(channel, "backlane.v1.Nothing")
        assert await news(call) == SERVICE_UNKNOWN
        assert not call.done()
        call.cancel()


async def test_watches_are_bounded() -> None:
    async with serving(max_watches=1) as (_, channel):
        first = watch(channel, "")
        await news(first)
        assert await watch(channel, "").code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        first.cancel()


async def test_watches_end_when_the_server_closes() -> None:
    async with serving() as (health, channel):
        call = watch(channel, "")
        await news(call)
        health.close()
        assert await call.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("name", ["Check", "Watch"])
async def test_bytes_that_are_no_message_are_refused_without_the_text_of_python(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as (_, channel):
        method: BytesMethod = channel.unary_stream(f"/grpc.health.v1.Health/{name}")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await method(b"\xff\xff").read()

    error = from_rpc_error(raised.value)
    assert isinstance(error, InvalidArgumentError)
    assert error.message == "the request is not an encoded message of the method"
    assert caplog.records == []
