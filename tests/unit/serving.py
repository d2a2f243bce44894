"""A gRPC server around a fake core, and a channel to it, for tests of the transport."""

from __future__ import annotations

import contextlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import grpc

from backlane.server.bounds import Bounds
from backlane.server.transport import Transport
from tests.unit.fake_core import FakeCore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from backlane.server.identity import Identify


class Served:
    """A transport over a fake core, and a channel to it.

    Attributes:
        core: the fake core.
        transport: what is tested.
        channel: a client's channel.
        target: the server's address, for further channels.
        failures: what the transport reported to `on_failure`.
    """

    def __init__(self, core: FakeCore, bounds: Bounds, identify: Identify | None) -> None:
        self.core = core
        self.failures: list[str] = []
        self.transport = Transport(core, bounds, on_failure=self.failures.append, identify=identify)
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((self.transport,))
        self.target = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.channel = grpc.aio.insecure_channel(self.target)

    def ask(
        self, request: bytes, *, path: str, timeout_s: float | None = None
    ) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
        """Make a unary call."""
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(path)
        return method(request, timeout=timeout_s)

    def talk(self, path: str) -> grpc.aio.StreamStreamCall[bytes, bytes]:
        """Open a stream."""
        return self.channel.stream_stream(path)()


@contextlib.asynccontextmanager
async def serving(
    *,
    max_in_flight: int = 100,
    max_streams: int = 100,
    bounds: Mapping[str, Any] = MappingProxyType({}),
    identify: Identify | None = None,
    is_echo: bool = False,
) -> AsyncIterator[Served]:
    """Serve a fake core until the end of the block; `bounds` changes further limits by name."""
    core = FakeCore(is_echo=is_echo)
    served = Served(core, Bounds(max_in_flight, max_streams, **bounds), identify)
    await served.server.start()
    try:
        yield served
    finally:
        await served.channel.close()
        await served.server.stop(None)
        served.transport.close()
        core.release()
