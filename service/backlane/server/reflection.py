"""Owns server reflection, v1 and v1alpha, of all services of the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import _async as reflection
from grpc_reflection.v1alpha import reflection_pb2

from backlane.server.descriptors import (
    BACKLANE_SERVICES,
    HEALTH,
    REFLECTION_V1,
    REFLECTION_V1ALPHA,
)
from backlane.server.refusal import DRAINING, NO_MESSAGE, abort, refusal_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from google.protobuf.descriptor_pool import DescriptorPool

    Context = grpc.aio.ServicerContext[bytes, bytes]


_Request = reflection_pb2.ServerReflectionRequest


class _Servicer(reflection.ReflectionServicer):
    """Also finds methods, for ghz: protobuf's pool does not have them among its symbols."""

    def __init__(self, names: Sequence[str], pool: DescriptorPool) -> None:
        super().__init__(names, pool=pool)
        self._served = pool
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """End every stream."""
        self._closed.set_result(None)

    # The stubs of the package leave out this method of the base class.
    def _file_containing_symbol(self, request: object, name: str) -> object:
        owner, _, method = name.rpartition(".")
        try:
            is_method = method in self._served.FindServiceByName(owner).methods_by_name
        except KeyError:
            is_method = False
        symbol = owner if is_method else name
        return super()._file_containing_symbol(request, symbol)  # type: ignore[misc]

    async def serve(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Answer a stream of encoded requests.

        They are parsed here, because grpc would send the text of an exception, and log it.
        """
        try:
            until_closed = self._until_closed(requests)
            parsed = (_Request.FromString(request) async for request in until_closed)
            # The stubs of the package make it a coroutine; it is a generator.
            answers: Any = self.ServerReflectionInfo(parsed, context)
            async for response in answers:
                yield response.SerializeToString()
        except DecodeError:
            await abort(context, *NO_MESSAGE)
        except Exception as error:  # noqa: BLE001  # grpc would send its text
            await abort(context, *refusal_for(error, "reflection"))
        if self._closed.done():
            await abort(context, *DRAINING)

    async def _until_closed(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while True:
            coming = asyncio.ensure_future(anext(requests, None))
            either: set[asyncio.Future[Any]] = {coming, self._closed}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                request = coming.result() if coming.done() else None
            finally:
                coming.cancel()
            if request is None:
                return
            yield request


class Reflection:
    """The reflection of all services. Make it inside the running event loop."""

    def __init__(self, pool: DescriptorPool) -> None:
        """Reflect the services of a pool."""
        names = (*BACKLANE_SERVICES, HEALTH, REFLECTION_V1, REFLECTION_V1ALPHA)
        self._servicer = _Servicer(names, pool)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the handlers of both versions. One servicer serves both: messages are equal."""
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
            self._servicer.serve
        )
        return tuple(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
            for name in (REFLECTION_V1, REFLECTION_V1ALPHA)
        )

    def close(self) -> None:
        """End every stream with DRAINING, so that none delays the stop of the server."""
        self._servicer.close()
