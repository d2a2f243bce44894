"""Owns the `EnqueueStream` of a client of threads: who hands in, who sends, who reads.

Callers hand parcels to the outbox and wait. gRPC's own thread draws messages from it; a thread of
the pipe reads the outcomes. A stream that breaks is opened again and all that has no outcome is
sent once more, in order; the server knows each request by its id. An idle stream is closed.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import grpc

from backlane import errors
from backlane.client.caller import closed
from backlane.client.outbox import Outbox, Parcel
from backlane.client.patience import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backlane.client.outbox import Outcome
    from backlane.v1 import execution_service_pb2 as api

    OpenStream = Callable[[Iterator[api.EnqueueStreamRequest]], Any]
    """Begins a call, which answers `EnqueueStreamResponse`s and can be cancelled."""

IDLE_S: Final = 10.0
"""A stream with nothing on it for that long, in seconds, is closed: servers bound their number."""

log = logging.getLogger("backlane.client")


class Pipe:
    """One stream at a time, shared by all threads of a client."""

    def __init__(self, open_stream: OpenStream, *, waits: bool) -> None:
        """Make a pipe; the first parcel opens its stream.

        Args:
            open_stream: begins a call with an iterator of messages.
            waits: whether to try again while the server is away.
        """
        self._open_stream = open_stream
        self._changed = threading.Condition()
        self._outbox = Outbox(waits=waits)
        self._reader: threading.Thread | None = None
        self._stream = 0
        self._is_closed = False
        self._cancel: Callable[[], object] = bool

    def send(
        self, requests: Sequence[api.EnqueueRequest], size: int, timeout_s: float
    ) -> list[Outcome] | None:
        """Enqueue requests and return their outcomes; None where the time was over before."""
        return self.hand_in(requests, size, timeout_s)()

    def hand_in(
        self, requests: Sequence[api.EnqueueRequest], size: int, timeout_s: float
    ) -> Callable[[], list[Outcome] | None]:
        """Hand requests in, and return what waits for their outcomes until the time is over.

        Blocks while too much of all callers' is unanswered.

        Raises:
            CallCancelledError: the client was closed.
        """
        deadline = time.monotonic() + timeout_s
        done = threading.Event()
        parcel = Parcel(requests, size, done.set)
        with self._changed:
            self._changed.wait_for(lambda: self._outbox.has_room or self._is_closed, timeout_s)
            if self._is_closed:
                raise closed()
            if self._outbox.has_room:
                self._outbox.add(parcel)
                self._changed.notify_all()
                self._ensure_reader()
            else:
                deadline = 0.0

        def wait() -> list[Outcome] | None:
            if done.wait(max(0.0, deadline - time.monotonic())):
                return parcel.outcomes
            with self._changed:
                self._outbox.abandon(parcel)
                self._changed.notify_all()
                return parcel.outcomes if done.is_set() else None

        return wait

    def close(self) -> None:
        """End the stream; whoever waits is told."""
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
        """Serve streams until there is nothing to send."""
        backoff = Backoff()
        while True:
            answered = self._outbox.answered
            error = self._serve()
            if self._outbox.answered > answered:
                backoff = Backoff()
            with self._changed:
                if self._is_closed or (error is None and not len(self._outbox)):
                    self._reader = None
                    return
                if error is not None and not self._consider(error):
                    self._reader = None
                    return
                if error is None:
                    # Closed for being idle, while something came in after all.
                    self._outbox.rewind()
                    continue
                self._changed.wait_for(lambda: self._is_closed, backoff.pause_s(error))

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

    def _consider(self, error: errors.BacklaneError) -> bool:
        """Decide what follows a broken stream, and return whether another one does."""
        log.debug("the stream of enqueues ended: %s", error)
        self._outbox.recover(error)
        self._changed.notify_all()
        return len(self._outbox) > 0

    def _messages(self, stream: int) -> Iterator[api.EnqueueStreamRequest]:
        while (message := self._next(stream)) is not None:
            yield message

    def _next(self, stream: int) -> api.EnqueueStreamRequest | None:
        with self._changed:
            while self._stream == stream:
                message = self._outbox.take()
                if message is not None:
                    return message
                if not self._changed.wait(IDLE_S) and not len(self._outbox):
                    return None
            return None
