"""Owns the pipe of a client for an event loop.

One task serves the stream and reads the outcomes, another one writes the messages. All run in one
loop with the callers' tasks, so that nothing needs a lock but the order in which callers wait for
room.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc

from backlane import errors
from backlane.client.outbox import Parcel
from backlane.client.patience import closed
from backlane.client.pipe import IDLE_S, HandedIn, Pipe, unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backlane.v1 import execution_service_pb2 as api

    OpenStream = Callable[[], Any]
    """Begins a call, which is written, read and cancelled."""

REFUSAL_S: Final = 0.05
"""How long the server may take to refuse a stream as a whole, in seconds."""


class LoopPipe(Pipe):
    """One stream at a time, shared by all tasks of a client."""

    def __init__(self, open_stream: OpenStream, *, waits: bool) -> None:
        """Make a pipe; the first parcel opens its stream.

        Args:
            open_stream: begins a call.
            waits: whether to try again while the server is away.
        """
        super().__init__(waits=waits)
        self._open_stream = open_stream
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._line = asyncio.Lock()
        self._in_line = 0
        self._server: asyncio.Task[None] | None = None

    async def hand_in(
        self, requests: Sequence[api.EnqueueRequest], size: int, timeout_s: float
    ) -> HandedIn:
        """Hand requests in; see `Pipe.hand_in`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        done: asyncio.Future[None] = loop.create_future()
        parcel = Parcel(requests, size, partial(_wake, done))
        # A caller that comes later stays behind those that wait for room already: requests are
        # sent in the order in which they were handed in.
        is_full = self._in_line > 0 or not self._outbox.has_room
        is_late = is_full and not await self._wait_for_room(deadline)
        if self._is_closed:
            parcel.refuse(closed())
        elif not is_late:
            self._outbox.add(parcel)
            self._changed.set()
            if self._server is None or self._server.done():
                self._server = loop.create_task(self._run())
        return HandedIn(self, parcel, partial(_until, done, deadline), is_late=is_late)

    def abandon(self, parcel: Parcel) -> None:
        """Wait no longer for a parcel: its caller has left."""
        self._outbox.abandon(parcel)
        self._room.set()

    async def close(self) -> None:
        """End the stream; every caller that waits is told that the client is closed."""
        self._is_closed = True
        self._outbox.fail_all(closed())
        self._room.set()
        if self._server is not None:
            self._server.cancel()
            await asyncio.wait([self._server])

    async def _wait_for_room(self, deadline: float) -> bool:
        self._in_line += 1
        try:
            async with asyncio.timeout_at(deadline), self._line:
                while not (self._outbox.has_room or self._is_closed):
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            return False
        finally:
            self._in_line -= 1
        return True

    async def _run(self) -> None:
        try:
            await self._serve_all()
        except asyncio.CancelledError:
            # By `close`, or by a program that cancels all tasks: no caller may wait for this one.
            self._outbox.fail_all(cut_off())
            self._room.set()
            raise
        except Exception as error:  # noqa: BLE001  # whatever gRPC raises beside its own errors
            self._outbox.fail_all(unexpected(error))
            self._room.set()

    async def _serve_all(self) -> None:
        """Serve streams until there is nothing to send."""
        while True:
            error = await self._serve()
            pause_s = self._pause_before_next_s(error)
            self._room.set()
            if pause_s is None:
                return
            await asyncio.sleep(pause_s)

    async def _serve(self) -> errors.BacklaneError | None:
        """Serve one stream to its end, and return what broke it."""
        call = self._open_stream()
        writer = asyncio.get_running_loop().create_task(self._write(call))
        try:
            async for answer in call:
                error = self._outbox.answer(answer.outcomes)
                self._room.set()
                self._changed.set()
                if error is not None:
                    return error
        except grpc.RpcError as broken:
            return errors.from_rpc_error(broken)
        finally:
            writer.cancel()
            await asyncio.wait([writer])
            call.cancel()
        return None

    async def _write(self, call: Any) -> None:  # noqa: ANN401  # as `OpenStream`
        try:
            if self._outbox.is_wary:
                await _let_refuse(call)
            while (message := await self._next()) is not None:
                await call.write(message)
            await call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            # The stream is broken; the task that reads it is told why.
            return

    async def _next(self) -> api.EnqueueStreamRequest | None:
        while (message := self._outbox.take()) is None:
            self._changed.clear()
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._changed.wait()
            except TimeoutError:
                if not len(self._outbox):
                    return None
        return message


async def _let_refuse(call: Any) -> None:  # noqa: ANN401  # as `OpenStream`
    """Give a server a moment to refuse a stream, before a write would hide the reason."""
    status = asyncio.ensure_future(call.code())
    await asyncio.wait([status], timeout=REFUSAL_S)
    status.cancel()


async def _until(done: asyncio.Future[None], deadline: float) -> None:
    # A timer in place of `wait_for`, which costs a task for every enqueue.
    timer = asyncio.get_running_loop().call_at(deadline, _wake, done)
    try:
        await done
    finally:
        timer.cancel()


def _wake(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def cut_off() -> errors.CallCancelledError:
    """Return the error of enqueues whose stream was ended by this program."""
    text = "the client's own task was cancelled"
    return errors.CallCancelledError(errors.ErrorParts(grpc.StatusCode.CANCELLED, text))
