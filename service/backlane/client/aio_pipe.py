"""Owns the `EnqueueStream` of a client of an event loop: who hands in, who sends, who reads.

As `pipe`, with tasks in place of threads: one serves the stream and reads it, one writes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import grpc

from backlane import errors
from backlane.client.caller import closed
from backlane.client.outbox import Outbox, Parcel
from backlane.client.patience import Backoff
from backlane.client.pipe import IDLE_S, ended_early, unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backlane.client.outbox import Outcome
    from backlane.v1 import execution_service_pb2 as api

    OpenStream = Callable[[], Any]
    """Begins a call, which is written, read and cancelled."""

REFUSAL_S: Final = 0.05
"""How long a refusal of a stream as a whole may take, in seconds."""

log = logging.getLogger("backlane.client")


class AsyncPipe:
    """One stream at a time, shared by all tasks of a client."""

    def __init__(self, open_stream: OpenStream, *, waits: bool) -> None:
        """Make a pipe; the first parcel opens its stream.

        Args:
            open_stream: begins a call.
            waits: whether to try again while the server is away.
        """
        self._open_stream = open_stream
        self._outbox = Outbox(waits=waits)
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._line = asyncio.Lock()
        self._in_line = 0
        self._server: asyncio.Task[None] | None = None
        self._is_closed = False

    async def send(
        self, requests: Sequence[api.EnqueueRequest], size: int, timeout_s: float
    ) -> Sequence[Outcome] | None:
        """Enqueue requests and return their outcomes; None where the time was over before."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        # Who comes later stays behind those that wait for room: what is handed in stays in order.
        is_full = self._in_line > 0 or not self._outbox.has_room
        if is_full and not await self._wait_for_room(deadline):
            return None
        if self._is_closed:
            return [closed()] * len(requests)
        future: asyncio.Future[None] = loop.create_future()
        parcel = Parcel(requests, size, lambda: _wake(future))
        self._outbox.add(parcel)
        self._changed.set()
        if self._server is None or self._server.done():
            self._server = loop.create_task(self._run())
        # A timer in place of `wait_for`, which costs a task's worth for every enqueue.
        timer = loop.call_at(deadline, _wake, future)
        try:
            await future
        finally:
            timer.cancel()
            if not parcel.is_done:
                self._outbox.abandon(parcel)
        return parcel.outcomes if parcel.is_done else None

    def hand_in(
        self, requests: Sequence[api.EnqueueRequest], size: int, timeout_s: float
    ) -> asyncio.Task[Sequence[Outcome] | None]:
        """Send on the side, after what was handed in before; see `send`."""
        return asyncio.create_task(self.send(requests, size, timeout_s))

    async def close(self) -> None:
        """End the stream; whoever waits is told."""
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
            # By a close, or by somebody who cancels all tasks: nobody is to wait for this one.
            self._outbox.fail_all(cut_off())
            self._room.set()
            raise
        except Exception as error:  # noqa: BLE001  # whatever gRPC raises beside its own errors
            self._outbox.fail_all(unexpected(error))
            self._room.set()

    async def _serve_all(self) -> None:
        """Serve streams until there is nothing to send."""
        backoff = Backoff()
        while True:
            answered = self._outbox.answered
            error = await self._serve()
            if self._outbox.answered > answered:
                backoff = Backoff()
            if error is None and self._outbox.is_awaiting:
                error = ended_early()
            if error is None:
                if not len(self._outbox):
                    break
                self._outbox.rewind()
                continue
            if not self._consider(error):
                break
            await asyncio.sleep(backoff.pause_s(error))

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
            # The stream is broken; who reads it is told why.
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

    def _consider(self, error: errors.BacklaneError) -> bool:
        """Decide what follows a broken stream, and return whether another one does."""
        log.debug("the stream of enqueues ended: %s", error)
        self._outbox.recover(error)
        self._room.set()
        return len(self._outbox) > 0


async def _let_refuse(call: Any) -> None:  # noqa: ANN401  # as `OpenStream`
    """Give a server a moment to refuse a stream, before a write would hide why."""
    status = asyncio.ensure_future(call.code())
    await asyncio.wait([status], timeout=REFUSAL_S)
    status.cancel()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def cut_off() -> errors.CallCancelledError:
    """Return the error of enqueues whose stream was ended by this program."""
    text = "the client's own task was cancelled"
    return errors.CallCancelledError(errors.ErrorParts(grpc.StatusCode.CANCELLED, text))
