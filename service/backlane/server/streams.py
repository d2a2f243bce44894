"""Owns bidirectional streams: one reader and one writer each, and what the two wait for.

Reading stops while the core asks for it. One write is outstanding at a time, and a client that
takes none for too long loses its stream, so that a stuck one holds neither memory nor leases.
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
"""How exactly the write limit is kept: a write is cut off up to a thirtieth of it too late."""


class Stream:
    """One open stream: what waits to be written, how it ends, and who waits for news of it."""

    __slots__ = ("closed", "end", "news", "outbox", "resumed", "stalled", "task", "write_began")

    def __init__(self, task: asyncio.Task[object], closed: asyncio.Future[None]) -> None:
        """Make a stream written by that task."""
        self.task = task
        self.closed = closed
        self.outbox: deque[bytes] = deque()
        self.end: Refusal | None = None
        self.news: asyncio.Future[None] | None = None
        self.resumed: asyncio.Future[None] | None = None
        self.write_began: float | None = None
        self.stalled = False

    def take(self, code: int, payload: bytes, message: str) -> None:
        """Take a completion of the core."""
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
        """Make an empty table; nothing beyond `max_streams` is let in."""
        self.open: dict[int, Stream] = {}
        self._core = core
        self._max_streams = max_streams
        self._write_limit_s = write_limit_s
        self._identify = identify
        self._slots_taken = 0
        self._watch: asyncio.TimerHandle | None = None
        self._too_many = refusal(
            "RATE_LIMITED",
            f"the server has {max_streams} streams open, which is its limit",
            metadata={"max_streams": str(max_streams)},
            retry_after_s=5.0,
        )
        self._too_slow = refusal(
            "RATE_LIMITED",
            f"the client took no message for {write_limit_s:g} s, so its stream was closed",
            metadata={"write_limit_ms": str(round(write_limit_s * 1000))},
            retry_after_s=1.0,
        )

    def handler(self, method: int, path: str) -> StreamHandler:
        """Return the handler of a streaming method."""

        async def serve(_requests: object, context: Context) -> None:
            if self._slots_taken >= self._max_streams:
                await abort(context, *self._too_many)
            # The slot is kept until the status has left, which a stuck client can delay: what
            # grpc still holds for such a stream is bounded by the number of slots.
            self._slots_taken += 1
            try:
                end = await self._serve(method, path, context)
                if end.code:
                    await abort(context, *end)
            finally:
                self._slots_taken -= 1

        return serve

    async def _serve(self, method: int, path: str, context: Context) -> Refusal:
        """Carry messages both ways until an end is known, and return it."""
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
            # The watch cancels a stalled writer, grpc one whose client is gone; if both did,
            # there is nobody left to answer.
            if not stream.stalled or task.uncancel():
                raise
            return self._too_slow
        except grpc.aio.BaseError as gone:
            # grpc logs a failed write, but not a cancel.
            raise asyncio.CancelledError from gone
        finally:
            reader.cancel()
            del self.open[ticket]
            self._core.close(ticket)
            stream.closed.set_result(None)

    async def _write(self, ticket: int, stream: Stream, context: Context) -> Refusal:
        """Write what the core sends, one message at a time, until the core ends the stream."""
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
        """Hand the client's messages to the core until its last one, pausing when asked to."""
        loop, send = asyncio.get_running_loop(), self._core.send
        read: Callable[[], Awaitable[object]] = context.read
        try:
            while isinstance(message := await read(), bytes):  # EOF is something else.
                if not send(ticket, message):
                    stream.resumed = loop.create_future()
                    await stream.resumed
            # A broken connection ends the messages as well, and cancels the call some time later,
            # milliseconds on a busy machine: too long to wait for, so the core knows of it.
            self._core.half_close(ticket)
        except asyncio.CancelledError:
            raise
        except grpc.aio.BaseError:
            pass  # The call is over; the writer hears of it by itself.
        except BaseException as error:  # noqa: BLE001  # the writer ends the stream with it
            stream.take(*refusal_for(error, path))

    def _check_writes(self) -> None:
        """End the streams whose write is too old; looks again later while any is open.

        One timer for all, since a timer for each write would cost more than the write's own code.
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
