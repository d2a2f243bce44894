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


class HandedIn:
    """Requests that one caller handed in.

    Attributes:
        is_late: whether there was no room for them in time, so that they were never taken.
    """

    def __init__(
        self, pipe: Pipe, parcel: Parcel, done: threading.Event, deadline: float, *, is_late: bool
    ) -> None:
        """Wait for a parcel, until an instant of the monotonic clock."""
        self._pipe = pipe
        self._parcel = parcel
        self._done = done
        self._deadline = deadline
        self.is_late = is_late

    def wait(self) -> Sequence[Outcome] | None:
        """Return the outcomes; None where the time was over before."""
        try:
            if not self.is_late:
                self._done.wait(max(0.0, self._deadline - time.monotonic()))
        finally:
            # Not the caller's any more, whether its time is over or it is interrupted.
            if not self._done.is_set():
                self.abandon()
        return self._parcel.outcomes if self._done.is_set() else None

    def abandon(self) -> None:
        """Wait no longer: what was not sent is not sent any more."""
        self._pipe.abandon(self._parcel)


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
    ) -> Sequence[Outcome] | None:
        """Enqueue requests and return their outcomes; None where the time was over before."""
        return self.hand_in(requests, size, timeout_s).wait()

    def hand_in(
        self, requests: Sequence[api.EnqueueRequest], size: int, timeout_s: float
    ) -> HandedIn:
        """Hand requests in, whose outcomes can be waited for until the time is over.

        Blocks while too much of all callers' is unanswered.
        """
        deadline = time.monotonic() + timeout_s
        done = threading.Event()
        parcel = Parcel(requests, size, done.set)
        with self._changed:
            self._changed.wait_for(lambda: self._outbox.has_room or self._is_closed, timeout_s)
            is_late = not (self._outbox.has_room or self._is_closed)
            if self._is_closed:
                parcel.refuse(closed())
            elif not is_late:
                self._outbox.add(parcel)
                self._changed.notify_all()
                self._ensure_reader()
        return HandedIn(self, parcel, done, deadline, is_late=is_late)

    def abandon(self, parcel: Parcel) -> None:
        """Wait no longer for a parcel: its caller has left."""
        with self._changed:
            self._outbox.abandon(parcel)
            self._changed.notify_all()

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
        try:
            self._serve_all()
        except Exception as error:  # noqa: BLE001  # gRPC's own, such as for a channel just closed
            with self._changed:
                self._reader = None
                self._outbox.fail_all(closed() if self._is_closed else unexpected(error))
                self._changed.notify_all()

    def _serve_all(self) -> None:
        """Serve streams until there is nothing to send."""
        backoff = Backoff()
        while True:
            answered = self._outbox.answered
            error = self._serve()
            if self._outbox.answered > answered:
                backoff = Backoff()
            with self._changed:
                if error is None and self._outbox.is_awaiting:
                    error = ended_early()
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


def ended_early() -> errors.UnavailableError:
    """Return the error of a stream that ended well, with requests on it that have no answer."""
    text = "the stream ended before its answers"
    return errors.UnavailableError(errors.ErrorParts(grpc.StatusCode.UNAVAILABLE, text))


def unexpected(error: BaseException) -> errors.InternalError:
    """Return the error of a stream that could not be served, and log what it is."""
    log.error("the stream of enqueues failed", exc_info=error)
    text = f"the stream of enqueues failed: {error!r}"
    return errors.InternalError(errors.ErrorParts(grpc.StatusCode.INTERNAL, text))
