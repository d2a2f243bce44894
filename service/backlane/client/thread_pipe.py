"""Owns the pipe of a client for threads.

gRPC's own thread draws messages from the outbox; a thread of the pipe reads the outcomes. Both,
and the callers' threads, share the outbox under one condition. The pipe's coroutines block their
thread and never suspend.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from backlane import errors
from backlane.client.outbox import Parcel
from backlane.client.patience import closed
from backlane.client.pipe import IDLE_S, HandedIn, Pipe, unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    OpenStream = Callable[[Iterator[bytes]], Any]
    """Begins a call with encoded messages, which answers `EnqueueStreamResponse`s, and which can be
    cancelled."""


class ThreadPipe(Pipe):
    """One stream at a time, shared by all threads of a client."""

    def __init__(self, open_stream: OpenStream, *, waits: bool) -> None:
        """Make a pipe; the first parcel opens its stream.

        Args:
            open_stream: begins a call with an iterator of messages.
            waits: whether to try again while the server is away.
        """
        super().__init__(waits=waits)
        self._open_stream = open_stream
        self._changed = threading.Condition()
        self._reader: threading.Thread | None = None
        # Counts the streams, and their ends: the messages of an older stream end at once.
        self._stream = 0
        self._cancel: Callable[[], object] = bool

    async def hand_in(self, encoded: bytes, count: int, timeout_s: float) -> HandedIn:
        """Hand requests in; see `Pipe.hand_in`."""
        deadline = time.monotonic() + timeout_s
        done = threading.Event()
        parcel = Parcel(encoded, count, done.set)
        with self._changed:
            self._changed.wait_for(lambda: self._outbox.has_room or self._is_closed, timeout_s)
            is_late = not (self._outbox.has_room or self._is_closed)
            if self._is_closed:
                parcel.refuse(closed())
            elif not is_late:
                self._outbox.add(parcel)
                self._changed.notify_all()
                self._ensure_reader()
        return HandedIn(self, parcel, partial(_until, done, deadline), is_late=is_late)

    def abandon(self, parcel: Parcel) -> None:
        """Wait no longer for a parcel: its caller has left."""
        with self._changed:
            self._outbox.abandon(parcel)
            self._changed.notify_all()

    async def close(self) -> None:
        """End the stream; every caller that waits is told that the client is closed."""
        with self._changed:
            self._is_closed = True
            self._outbox.fail_all(closed())
            self._changed.notify_all()
        self._cancel()

    def _ensure_reader(self) -> None:
        if self._reader is None:
            self._reader = threading.Thread(target=self._run, name="backlane-enqueue", daemon=True)
            self._reader.start()

    def _run(self) -> None:
        try:
            self._serve_all()
        except Exception as error:  # noqa: BLE001  # gRPC's own, such as for a channel just closed
            with self._changed:
                self._reader = None
                self._outbox.fail_all(closed() if self._is_closed else unexpected(error))
                self._changed.notify_all()

    def _serve_all(self) -> None:
        """Serve streams until there is nothing to send."""
        while True:
            error = self._serve()
            with self._changed:
                pause_s = None if self._is_closed else self._pause_before_next_s(error)
                self._changed.notify_all()
                if pause_s is None:
                    self._reader = None
                    return
                self._changed.wait_for(lambda: self._is_closed, pause_s)

    def _serve(self) -> errors.BacklaneError | None:
        """Serve one stream to its end, and return what broke it."""
        with self._changed:
            self._stream += 1
            messages = self._messages(self._stream)
        call = self._open_stream(messages)
        self._cancel = call.cancel
        if self._is_closed:
            call.cancel()
        try:
            for answer in call:
                with self._changed:
                    error = self._outbox.answer(answer.outcomes)
                    self._changed.notify_all()
                if error is not None:
                    # A server that is about to stop waits for its streams to end.
                    call.cancel()
                    return error
        except grpc.RpcError as broken:
            return errors.from_rpc_error(broken)
        finally:
            with self._changed:
                self._stream += 1
                self._changed.notify_all()
        return None

    def _messages(self, stream: int) -> Iterator[bytes]:
        while (message := self._next(stream)) is not None:
            yield message

    def _next(self, stream: int) -> bytes | None:
        with self._changed:
            while self._stream == stream:
                # A thread has its turn when it happens to get Python's lock, mostly before the
                # callers that were answered with the same message.
                message = None if self._outbox.is_gathering else self._outbox.take()
                if message is not None:
                    return message
                if not self._changed.wait(IDLE_S) and not len(self._outbox):
                    return None
            return None


async def _until(done: threading.Event, deadline: float) -> None:
    done.wait(max(0.0, deadline - time.monotonic()))
