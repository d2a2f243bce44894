"""Owns grpc.health.v1: tells clients whether the server serves, in `Check`, `List` and `Watch`.

The servicer of grpcio-health-checking is not used; the README of this folder says why.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from backlane.server.descriptors import BACKLANE_SERVICES, HEALTH, health_list_response
from backlane.server.refusal import NO_MESSAGE, abort

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool

    Context = grpc.aio.ServicerContext[bytes, bytes]

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

SERVICES: Final = ("", *BACKLANE_SERVICES)
"""The services with a status. All have the server's status, which has the empty name."""


class Health:
    """The server's health, at first NOT_SERVING. Every watcher is told of each change."""

    def __init__(self, pool: DescriptorPool, max_watches: int) -> None:
        """Make the health service; `max_watches` limits the open Watch streams."""
        self._list_response = health_list_response(pool)
        self._max_watches = max_watches
        self._watches = 0
        self._status: int = NOT_SERVING
        self._changed = asyncio.Event()
        self._is_closed = False

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler for `grpc.aio.Server.add_generic_rpc_handlers`."""
        return grpc.method_handlers_generic_handler(
            HEALTH,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
                "List": grpc.unary_unary_rpc_method_handler(self._list),
            },
        )

    def set_serving(self, *, is_serving: bool) -> None:
        """Change the status of every service, and tell the watchers."""
        self._status = SERVING if is_serving else NOT_SERVING
        self._tell_watchers()

    def close(self) -> None:
        """End every Watch stream, so that none delays the stop of the server."""
        self._is_closed = True
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        # Watchers that wait now are woken by this event, and later ones wait for the next.
        self._changed.set()
        self._changed = asyncio.Event()

    async def _check(self, request: bytes, context: Context) -> bytes:
        if await _service(request, context) not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return _encoded(self._status)

    async def _list(self, _request: bytes, _context: Context) -> bytes:
        response = self._list_response()
        for service in SERVICES:
            response.statuses[service].status = self._status  # type: ignore[attr-defined]
        return response.SerializeToString()

    async def _watch(self, request: bytes, context: Context) -> None:
        service = await _service(request, context)
        if self._watches >= self._max_watches:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many health watches")
        self._watches += 1
        try:
            await self._follow(service, context)
        finally:
            self._watches -= 1

    async def _follow(self, service: str, context: Context) -> None:
        sent: int | None = None
        while not self._is_closed:
            changed = self._changed
            status = self._status if service in SERVICES else SERVICE_UNKNOWN
            if status != sent:
                sent = status
                await context.write(_encoded(status))
            else:
                await changed.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")


async def _service(request: bytes, context: Context) -> str:
    """Return the name of the service that a request asks about.

    The request is parsed here, because grpc would send the text of the exception, and log it.
    """
    try:
        return health_pb2.HealthCheckRequest.FromString(request).service
    except DecodeError:
        await abort(context, *NO_MESSAGE)


def _encoded(status: int) -> bytes:
    return health_pb2.HealthCheckResponse(status=status).SerializeToString()
