"""Owns bidirectional streams, each with one reader and one writer.

Reading pauses when the core asks for it. There is one write at a time. If a client does not read
for too long, its stream is ended, so that a stuck client keeps neither memory nor leases.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import grpc

from backlane.server.port import MESSAGE, RESUME
from backlane.server.refusal import Refusal, abort, refusal, refusal_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backlane.server.identity import Identify
    from backlane.server.port import CorePort

    Context = grpc.aio.ServicerContext[bytes, bytes]
    StreamHandler = Callable[[object, Context], Awaitable[None]]

CHECKS_PER_WRITE_LIMIT: Final = 30
"""The precision of the write limit: a write may take up to a thirtieth longer."""


class Stream:
    """One open stream: its messages to write, its end, and its waiting reader and writer."""

    __slots__ = ("closed", "end", "news", "outbox", "resumed", "stalled", "task", "write_began")

    def __init__(self, task: asyncio.Task[object], closed: asyncio.Future[None]) -> None:
        """Make a stream whose messages are written by `task`."""
        self.task = task
        self.closed = closed
        self.outbox: deque[bytes] = deque()
        self.end: Refusal | None = None
        self.news: asyncio.Future[None] | None = None
        self.resumed: asyncio.Future[None] | None = None
        self.write_began: float | None = None
        self.stalled = False

    def take(self, code: int, payload: bytes, message: str) -> None:
        """Accept a completion of the core."""
        if code == MESSAGE:
            self.outbox.append(payload)
        elif code == RESUME:
            _wake(self.resumed)
            return
        else:
            self.end = Refusal(code, payload, message)
        _wake(self.news)


class Streams:
    """The open streams, by ticket."""

    def __init__(
        self, core: CorePort, max_streams: int, write_limit_s: float, identify: Identify | None
    ) -> None:
        """Make an empty table that accepts `max_streams` streams at once."""
        self.open: dict[int, Stream] = {}
        self._core = core
        self._max_streams = max_streams
        self._write_limit_s = write_limit_s
        self._identify = identify
        self._slots_taken = 0
        self._watch: asyncio.TimerHandle | None = None
        self._too_many = refusal(
            "RATE_LIMITED",
            f"the server has {max_streams} open streams, its limit: try again later",
            metadata={"max_streams": str(max_streams)},
            retry_after_s=5.0,
        )
        self._too_slow = refusal(
            "RATE_LIMITED",
            f"the client read no message for {write_limit_s:g} s, so its stream was closed",
            metadata={"write_limit_ms": str(round(write_limit_s * 1000))},
            retry_after_s=1.0,
        )

    def handler(self, method: int, path: str) -> StreamHandler:
        """Return the handler of a streaming method."""

        async def serve(_requests: object, context: Context) -> None:
            if self._slots_taken >= self._max_streams:
                await abort(context, *self._too_many)
            # The slot is kept until the status was sent, which a stuck client can delay. So the
            # number of slots limits what grpc holds for such streams.
            self._slots_taken += 1
            try:
                end = await self._serve(method, path, context)
                if end.code:
                    await abort(context, *end)
            finally:
                self._slots_taken -= 1

        return serve

    async def _serve(self, method: int, path: str, context: Context) -> Refusal:
        """Pass messages in both directions until the stream ends, and return its end."""
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[object]", asyncio.current_task())
        try:
            principal = None if self._identify is None else self._identify(context)
            ticket = self._core.open(method, principal)
        except BaseException as error:  # noqa: BLE001  # grpc would send its text; panics too
            return refusal_for(error, path)
        stream = self.open[ticket] = Stream(task, loop.create_future())
        if self._watch is None:
            self._check_writes()
        reader = loop.create_task(self._read(ticket, stream, path, context))
        try:
            return await self._write(ticket, stream, context)
        except asyncio.CancelledError:
            # The watch cancels a stalled writer, and grpc a writer whose client is gone. If both
            # did, there is no client to answer.
            if not stream.stalled or task.uncancel():
                raise
            return self._too_slow
        except grpc.aio.BaseError as gone:
            # grpc would log a failed write, but not a cancel.
            raise asyncio.CancelledError from gone
        finally:
            reader.cancel()
            del self.open[ticket]
            self._core.close(ticket)
            stream.closed.set_result(None)

    async def _write(self, ticket: int, stream: Stream, context: Context) -> Refusal:
        """Write the core's messages, one at a time, until the core ends the stream."""
        loop, outbox, write, written = (
            asyncio.get_running_loop(),
            stream.outbox,
            context.write,
            self._core.written,
        )
        while True:
            while outbox:
                message = outbox.popleft()
                stream.write_began = loop.time()
                await write(message)
                stream.write_began = None
                written(ticket, len(message))
            if stream.end is not None:
                return stream.end
            stream.news = loop.create_future()
            await stream.news

    async def _read(self, ticket: int, stream: Stream, path: str, context: Context) -> None:
        """Pass the client's messages to the core until the last one, pausing when asked to."""
        loop, send = asyncio.get_running_loop(), self._core.send
        read: Callable[[], Awaitable[object]] = context.read
        try:
            while isinstance(message := await read(), bytes):  # EOF is not bytes.
                if not send(ticket, message):
                    stream.resumed = loop.create_future()
                    await stream.resumed
            # A broken connection ends the messages too. It cancels the call only later, on a busy
            # machine by milliseconds, and this does not wait for it. The core allows for that.
            self._core.half_close(ticket)
        except asyncio.CancelledError:
            raise
        except grpc.aio.BaseError:
            pass  # The call is over, which the writer notices itself.
        except BaseException as error:  # noqa: BLE001  # the writer ends the stream with it
            stream.take(*refusal_for(error, path))

    def _check_writes(self) -> None:
        """End streams whose write takes too long, and check again later while any is open.

        One timer serves all streams, because a timer per write would cost more than the write.
        """
        if not self.open:
            self._watch = None
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for stream in self.open.values():
            began = stream.write_began
            if began is not None and now - began >= self._write_limit_s and not stream.stalled:
                stream.stalled = True
                stream.task.cancel()
        delay_s = self._write_limit_s / CHECKS_PER_WRITE_LIMIT
        self._watch = loop.call_later(delay_s, self._check_writes)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
