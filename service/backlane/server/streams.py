"""Owns bidirectional streams, each with one reader and one writer.

Reading pauses when the core asks for it. There is one write at a time. If a client does not read
for too long, its stream is ended, so that a stuck client keeps neither memory nor leases. So is a
stream whose first message does not come.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import grpc

from backlane.server.port import MESSAGE, RESUME, WORK
from backlane.server.refusal import DRAINING, Refusal, abort, refusal, refusal_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backlane.server.bounds import Bounds
    from backlane.server.identity import Identify
    from backlane.server.port import CorePort
    from backlane.server.unread import Unread

    Context = grpc.aio.ServicerContext[bytes, bytes]
    StreamHandler = Callable[[object, Context], Awaitable[None]]

SHARE: Final = 10
"""Each method that opens streams is left one in so many of them, whatever the others take."""


class Stream:
    """One open stream: its messages to write, its end, and its waiting reader and writer."""

    __slots__ = (
        "closed", "end", "half_closed", "is_drained", "is_heard", "news", "outbox", "path",
        "reader", "resumed", "stalled", "task", "unread_bytes",
    )  # fmt: skip

    def __init__(self, path: str, task: asyncio.Task[object], closed: asyncio.Future[None]) -> None:
        """Make a stream of the method `path` whose messages are written by `task`."""
        self.path = path
        self.task = task
        self.closed = closed
        self.outbox: deque[bytes] = deque()
        self.unread_bytes = 0
        self.end: Refusal | None = None
        self.news: asyncio.Future[None] | None = None
        self.resumed: asyncio.Future[None] | None = None
        self.reader: asyncio.Task[None] | None = None
        self.stalled = False
        self.is_heard = False
        self.half_closed = False
        self.is_drained = False

    def take(self, code: int, payload: bytes, message: str) -> None:
        """Accept a completion of the core."""
        if code == MESSAGE:
            self.outbox.append(payload)
        elif code == RESUME:
            _wake(self.resumed)
            return
        elif self.is_drained and not code:
            self.end = DRAINING
        else:
            self.end = Refusal(code, payload, message)
        _wake(self.news)

    def stall(self) -> None:
        """End the stream, because its client does not read."""
        if not self.stalled:
            self.stalled = True
            self.task.cancel()


class Streams:
    """The open streams, by ticket."""

    def __init__(
        self, core: CorePort, bounds: Bounds, unread: Unread, identify: Identify | None
    ) -> None:
        """Make an empty table that accepts `bounds.max_streams` streams at once."""
        self.open: dict[int, Stream] = {}
        self._core = core
        self._bounds = bounds
        self._unread = unread
        self._identify = identify
        self._taken: dict[str, int] = {path: 0 for path, is_stream in core.methods() if is_stream}
        self._is_draining = False
        # In the order in which they opened, so that a check can stop at the first young one.
        self._silent: dict[Stream, float] = {}
        self._too_slow = refusal(
            "RATE_LIMITED",
            f"the client read no message for {bounds.write_limit_s:g} s, or for "
            f"{bounds.hurry_s:g} s while the server was short of memory, so its stream was closed",
            metadata={"write_limit_ms": str(round(bounds.write_limit_s * 1000))},
            retry_after_s=1.0,
        )
        self._too_silent = refusal(
            "RATE_LIMITED",
            f"the client sent no message for {bounds.hello_limit_s:g} s after it opened the "
            "stream: open a stream when there is something to send on it",
            metadata={"hello_limit_ms": str(round(bounds.hello_limit_s * 1000))},
            retry_after_s=1.0,
        )

    def handler(self, method: int, path: str) -> StreamHandler:
        """Return the handler of a streaming method."""

        async def serve(_requests: object, context: Context) -> None:
            refused = self._refuses(path)
            if refused is not None:
                await abort(context, *refused)
            # The slot is kept until the status was sent, which a stuck client can delay. So the
            # number of slots limits what grpc holds for such streams.
            self._taken[path] += 1
            try:
                end = await self._serve(method, path, context)
                if end.code:
                    # The status waits behind what the client does not read.
                    self._unread.begin(context)
                    await abort(context, *end)
            finally:
                self._unread.end(context)
                self._taken[path] -= 1

        return serve

    def _refuses(self, path: str) -> Refusal | None:
        """Return why a method gets no further stream, and None if it gets one.

        A part of the streams is kept for each other method, so that workers cannot take the streams
        of producers, nor producers those of workers.
        """
        if self._is_draining and path != WORK:
            return DRAINING
        most = self._bounds.max_streams
        share = min(-(-most // SHARE), most - 1)
        others = [taken for other, taken in self._taken.items() if other != path]
        kept = sum(max(0, share - taken) for taken in others)
        if self._taken[path] + sum(others) + kept < most:
            return None
        return _too_many(most, kept)

    async def _serve(self, method: int, path: str, context: Context) -> Refusal:
        """Pass messages in both directions until the stream ends, and return its end."""
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[object]", asyncio.current_task())
        try:
            principal = None if self._identify is None else self._identify(context)
            ticket = self._core.open(method, principal)
        except BaseException as error:  # noqa: BLE001  # grpc would send its text; panics too
            return refusal_for(error, path)
        stream = self.open[ticket] = Stream(path, task, loop.create_future())
        self._silent[stream] = loop.time()
        stream.reader = loop.create_task(self._read(ticket, stream, path, context))
        try:
            return await self._write(ticket, stream, context)
        except asyncio.CancelledError:
            # The check cancels a stalled writer, and grpc a writer whose client is gone. If both
            # did, there is no client to answer.
            if not stream.stalled or task.uncancel():
                raise
            return self._too_slow
        except grpc.aio.BaseError as gone:
            # grpc would log a failed write, but not a cancel.
            raise asyncio.CancelledError from gone
        finally:
            stream.reader.cancel()
            self._silent.pop(stream, None)
            self._unread.end(context)
            self._unread.bytes -= stream.unread_bytes
            del self.open[ticket]
            self._core.close(ticket)
            stream.closed.set_result(None)

    def take(self, ticket: int, code: int, payload: bytes, message: str) -> None:
        """Accept a completion of the core for an open stream."""
        stream = self.open[ticket]
        if code == MESSAGE:
            stream.unread_bytes += len(payload)
            self._unread.bytes += len(payload)
        stream.take(code, payload, message)

    def check(self) -> None:
        """End the streams whose first message did not come in time."""
        latest = asyncio.get_running_loop().time() - self._bounds.hello_limit_s
        late = list(itertools.takewhile(lambda entry: entry[1] <= latest, self._silent.items()))
        for stream, _ in late:
            del self._silent[stream]
            stream.take(*self._too_silent)

    async def drain_producers(self, grace_s: float) -> None:
        """Answer what producers have sent, and end their streams with DRAINING.

        A producer has no message that tells it of a stop, and an idle one would hold it up. So
        would a worker that has not said who it is, whose stream ends too. Waits until the streams
        of producers have ended, at most `grace_s` seconds.
        """
        self._is_draining = True
        for stream in [one for one in self._silent if one.path == WORK]:
            del self._silent[stream]
            stream.take(*DRAINING)
        producers = [(ticket, one) for ticket, one in self.open.items() if one.path != WORK]
        for ticket, stream in producers:
            if stream.half_closed:
                continue  # It gets its last answers and OK.
            stream.is_drained = True
            if stream.reader is not None:
                stream.reader.cancel()
            self._core.half_close(ticket)
        if producers:
            await asyncio.wait([stream.closed for _, stream in producers], timeout=grace_s)

    async def _write(self, ticket: int, stream: Stream, context: Context) -> Refusal:
        """Write the core's messages, one at a time, until the core ends the stream."""
        loop, outbox, write, written, unread = (
            asyncio.get_running_loop(),
            stream.outbox,
            context.write,
            self._core.written,
            self._unread,
        )
        while True:
            while outbox:
                message = outbox.popleft()
                unread.begin(context, give_up=stream.stall)
                await write(message)
                unread.end(context)
                stream.unread_bytes -= len(message)
                unread.bytes -= len(message)
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
                if not stream.is_heard:
                    stream.is_heard = True
                    self._silent.pop(stream, None)
                if not send(ticket, message):
                    stream.resumed = loop.create_future()
                    await stream.resumed
            # A broken connection ends the messages too. It cancels the call only later, on a busy
            # machine by milliseconds, and this does not wait for it. The core allows for that.
            self._silent.pop(stream, None)
            stream.half_closed = True
            self._core.half_close(ticket)
        except asyncio.CancelledError:
            raise
        except grpc.aio.BaseError:
            pass  # The call is over, which the writer notices itself.
        except BaseException as error:  # noqa: BLE001  # the writer ends the stream with it
            stream.take(*refusal_for(error, path))


def _too_many(most: int, kept: int) -> Refusal:
    text = f"the server has {most} open streams, its limit"
    metadata = {"max_streams": str(most)}
    if kept:
        text = f"the server has {most - kept} open streams and keeps {kept} for another method"
        metadata["kept_streams"] = str(kept)
    return refusal("RATE_LIMITED", f"{text}: try again later", metadata=metadata, retry_after_s=5.0)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
