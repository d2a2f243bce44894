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
    """Begins a call, to which encoded messages are written, and which is read and cancelled."""

HALF_LEAST: Final = 8
"""Callers that are fewer are not divided: their messages would cost more than they save."""
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
        # Done when the writer, which waits for it, has something to send; None if it does not wait.
        self._news: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._line = asyncio.Lock()
        self._in_line = 0
        self._server: asyncio.Task[None] | None = None
        self._deadlines = Deadlines()

    async def hand_in(self, encoded: bytes, count: int, timeout_s: float) -> HandedIn:
        """Hand requests in; see `Pipe.hand_in`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        done: asyncio.Future[None] = loop.create_future()
        parcel = Parcel(encoded, count, partial(_wake, done))
        # A caller that comes later stays behind those that wait for room already: requests are
        # sent in the order in which they were handed in.
        is_full = self._in_line > 0 or not self._outbox.has_room
        is_late = is_full and not await self._wait_for_room(deadline)
        if self._is_closed:
            parcel.refuse(closed())
        elif not is_late:
            self._outbox.add(parcel)
            self._wake_writer()
            if self._server is None or self._server.done():
                self._server = loop.create_task(self._run())
        until_done = partial(self._deadlines.wait, done, deadline)
        return HandedIn(self, parcel, until_done, is_late=is_late)

    def abandon(self, parcel: Parcel) -> None:
        """Wait no longer for a parcel: its caller has left."""
        self._outbox.abandon(parcel)
        self._room.set()

    async def close(self) -> None:
        """End the stream; every caller that waits is told that the client is closed."""
        self._is_closed = True
        self._outbox.fail_all(closed())
        self._room.set()
        self._deadlines.close()
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
                error = await self._answer(answer.outcomes)
                if error is not None:
                    return error
        except grpc.RpcError as broken:
            return errors.from_rpc_error(broken)
        finally:
            writer.cancel()
            await asyncio.wait([writer])
            call.cancel()
        return None

    async def _answer(self, outcomes: Sequence[api.EnqueueOutcome]) -> errors.BacklaneError | None:
        """Hand outcomes out, as `Outbox.answer` does.

        If they are of all that is on its way, the server has nothing to do until the callers
        enqueue again. Then one half of the callers has its turn before the other, so that the
        server works on what the first half enqueues while the second half enqueues.
        """
        half = len(outcomes) // 2
        if half < HALF_LEAST or len(outcomes) < self._outbox.on_its_way:
            half = 0
        if half:
            error = self._hand_out(outcomes[:half])
            if error is not None:
                return error
            await asyncio.sleep(0)
        return self._hand_out(outcomes[half:])

    def _hand_out(self, outcomes: Sequence[api.EnqueueOutcome]) -> errors.BacklaneError | None:
        error = self._outbox.answer(outcomes)
        self._room.set()
        self._wake_writer()
        return error

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

    async def _next(self) -> bytes | None:
        loop = asyncio.get_running_loop()
        while (message := self._outbox.take()) is None:
            self._news = loop.create_future()
            idle_at = loop.time() + IDLE_S
            await self._deadlines.wait(self._news, idle_at)
            if loop.time() >= idle_at and not len(self._outbox):
                return None
        return message

    def _wake_writer(self) -> None:
        if self._news is not None:
            _wake(self._news)


async def _let_refuse(call: Any) -> None:  # noqa: ANN401  # as `OpenStream`
    """Give a server a moment to refuse a stream, before a write would hide the reason."""
    status = asyncio.ensure_future(call.code())
    await asyncio.wait([status], timeout=REFUSAL_S)
    status.cancel()


class Deadlines:
    """Futures that are waited for until their deadlines, all with one timer of the loop.

    A timer for each of them would be the largest cost of an enqueue.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._deadlines: dict[asyncio.Future[None], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, done: asyncio.Future[None], deadline: float) -> None:
        """Wait until a future is done; it is by its deadline, which is in the loop's time."""
        if done.done():
            return
        self._deadlines[done] = deadline
        if self._timer is None or deadline < self._timer.when():
            self._set(deadline)
        try:
            await done
        finally:
            del self._deadlines[done]

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, deadline: float) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._check, deadline)

    def _check(self, now: float) -> None:
        """Wake who waits for futures whose deadlines are over, and set the timer for the next."""
        self._timer = None
        for done, deadline in self._deadlines.items():
            if deadline <= now:
                _wake(done)
        ahead = [deadline for deadline in self._deadlines.values() if deadline > now]
        if ahead:
            self._set(min(ahead))


def _wake(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def cut_off() -> errors.CallCancelledError:
    """Return the error of enqueues whose stream was ended by this program."""
    text = "the client's own task was cancelled"
    return errors.CallCancelledError(errors.ErrorParts(grpc.StatusCode.CANCELLED, text))
