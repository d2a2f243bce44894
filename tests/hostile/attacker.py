"""Owns one HTTP/2 connection of a client that breaks the rules of politeness, frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

LENGTH_BYTES = 4
READ_BYTES = 65536


class Attacker:
    """A connection that acknowledges settings and pings, and does nothing else unasked.

    Attributes:
        refusals: the gRPC status codes that calls ended with.
        resets: the HTTP/2 error codes that the server reset streams with.
        received: bytes of messages that were received.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.refusals: list[str] = []
        self.resets: list[int] = []
        self.received = 0
        self._reader = reader
        self._writer = writer
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._news = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, host: str, port: int, *, window: int = 65535) -> Self:
        """Connect; `window` is how many bytes of a stream the server may send."""
        attacker = cls(*await asyncio.open_connection(host, port))
        # Before the connection begins, so that the first frame has it.
        attacker._http.local_settings = h2.settings.Settings(
            initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
        )
        attacker._http.initiate_connection()
        await attacker.flush()
        attacker._pump = asyncio.create_task(attacker._receive())
        return attacker

    def open(self, path: str) -> int:
        """Queue the headers of a call, and return the number of its stream."""
        stream = self._http.get_next_available_stream_id()
        self._http.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "server"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            ],
        )
        return stream

    async def send_message(self, stream: int, message: bytes, *, end: bool = False) -> None:
        """Send a whole message, and half-close if told to."""
        prefix = b"\x00" + len(message).to_bytes(LENGTH_BYTES, "big")
        await self.send(stream, prefix + message, end=end)

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send bytes of a stream, as fast as the server lets it."""
        while True:
            room = self._http.local_flow_control_window(stream)
            part = data[: min(room, self._http.max_outbound_frame_size)]
            data = data[len(part) :]
            if part or not data:
                self._http.send_data(stream, part, end_stream=end and not data)
                await self.flush()
            if not data:
                return
            if not part:
                self._news.clear()
                await self._news.wait()

    def reset(self, stream: int) -> None:
        """Queue the reset of a stream."""
        self._http.reset_stream(stream)

    async def raw(self, data: bytes) -> None:
        """Send bytes past the rules of HTTP/2."""
        self._writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def flush(self) -> None:
        """Send what is queued."""
        await self.raw(self._http.data_to_send())

    async def closed(self) -> None:
        """Wait until the server has closed the connection."""
        assert self._pump is not None
        await self._pump

    async def rest(self) -> None:
        """Do nothing more but acknowledge pings, until cancelled or closed by the server."""
        await self.closed()

    async def refusal_of_some_call(self) -> str:
        """Wait until a call has ended, and return its gRPC status code."""
        while not self.refusals:
            self._news.clear()
            await self._news.wait()
        return self.refusals[0]

    def close(self) -> None:
        """Close the connection."""
        if self._pump is not None:
            self._pump.cancel()
        self._writer.close()

    async def _receive(self) -> None:
        with contextlib.suppress(ConnectionError, h2.exceptions.ProtocolError):
            while data := await self._reader.read(READ_BYTES):
                for event in self._http.receive_data(data):
                    self._note(event)
                self._news.set()
                await self.flush()

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
            headers = [(str(name), str(value)) for name, value in event.headers]
            self.refusals += [value for name, value in headers if name == "grpc-status"]
        elif isinstance(event, h2.events.StreamReset):
            self.resets.append(int(event.error_code))
        elif isinstance(event, h2.events.DataReceived):
            self.received += len(event.data)
