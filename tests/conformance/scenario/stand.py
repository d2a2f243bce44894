"""A server in the test's event loop, with a clock that the test moves, and a channel to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import grpc

from backlane._core import Core
from backlane.server.app import RECEIVE_BYTES_MAX
from backlane.server.bounds import Bounds
from backlane.server.transport import Transport

if TYPE_CHECKING:
    from pathlib import Path

START_MS = 1_800_000_000_000


class Stand:
    """A real `grpc.aio` server around a core with a manual clock.

    Attributes:
        now_ms: where its clock stands, milliseconds since the epoch.
        channel: a client's channel to the server that runs now.
    """

    now_ms = START_MS
    channel: grpc.aio.Channel

    def __init__(self, data: Path | None, limits: dict[str, int]) -> None:
        """Make a server on that data directory, or in memory; it starts with `async with`."""
        self._data = None if data is None else str(data)
        self._limits = limits

    async def __aenter__(self) -> Self:
        """Start it."""
        self._core = Core(data=self._data, limits=self._limits, manual_clock_ms=self.now_ms)
        self._transport = Transport(self._core, Bounds(100, 100), on_failure=_fail)
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self._transport,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.channel.close()
        await self._server.stop(None)
        self._transport.close()
        self._core.stop()

    def advance(self, ms: int) -> None:
        """Move the clock; the next call sees all that this brings about."""
        self._core.advance(ms)
        self.now_ms += ms

    async def restart(self, downtime_ms: int) -> None:
        """End the server and have another on the same data, so much later."""
        await self.__aexit__()
        self.now_ms += downtime_ms
        await self.__aenter__()


def _fail(message: str) -> None:
    raise AssertionError(message)
