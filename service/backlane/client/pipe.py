"""Owns what the two kinds of pipes share: how parcels are handed in, and what follows a stream.

A pipe is the way of a client's enqueues to the server: one `EnqueueStream` at a time, shared by
all callers. Callers hand parcels to its outbox and wait for their outcomes. A stream that breaks
is opened again, and all that has no outcome is sent once more, in order; the server knows each
request by its id. A stream that is idle is closed. How callers, writer and reader wait for each
other is what `thread_pipe` and `loop_pipe` differ in.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import grpc

from backlane import errors
from backlane.client.outbox import Outbox
from backlane.sdk.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from backlane.client.outbox import Outcome, Parcel

IDLE_S: Final = 10.0
"""A stream with nothing on it for that long, in seconds, is closed: servers bound their number."""

log = logging.getLogger("backlane.client")


class HandedIn:
    """Requests that one caller handed in.

    Attributes:
        is_late: whether there was no room for them in time, so that they were never taken.
    """

    __slots__ = ("_parcel", "_pipe", "_until_done", "is_late")

    def __init__(
        self,
        pipe: Pipe,
        parcel: Parcel,
        until_done: Callable[[], Awaitable[object]],
        *,
        is_late: bool,
    ) -> None:
        """Follow a parcel.

        Args:
            pipe: the pipe that it was handed to.
            parcel: the requests.
            until_done: waits until the parcel is done or the caller's time is over.
            is_late: see above.
        """
        self._pipe = pipe
        self._parcel = parcel
        self._until_done = until_done
        self.is_late = is_late

    async def outcomes(self) -> Sequence[Outcome] | None:
        """Wait for the outcomes and return them; None where the caller's time is over before."""
        try:
            if not self.is_late:
                await self._until_done()
        finally:
            # The caller leaves, because its time is over or because it was interrupted.
            if not self._parcel.is_done:
                self.abandon()
        return self._parcel.outcomes if self._parcel.is_done else None

    def abandon(self) -> None:
        """Wait no longer: requests that were not sent yet are not sent any more."""
        self._pipe.abandon(self._parcel)


class Pipe(ABC):
    """One stream at a time, shared by all callers of a client."""

    def __init__(self, *, waits: bool) -> None:
        """Make a pipe; the first parcel opens its stream.

        Args:
            waits: whether to try again while the server is away.
        """
        self._outbox = Outbox(waits=waits)
        self._is_closed = False
        self._backoff = Backoff()
        self._answered = 0

    @abstractmethod
    async def hand_in(self, encoded: bytes, count: int, timeout_s: float) -> HandedIn:
        """Hand requests in; waits while too much of all callers' is unanswered.

        Args:
            encoded: what to enqueue, as an encoded `EnqueueStreamRequest`; each has a request id.
            count: how many requests they are.
            timeout_s: how long their outcomes may take, the wait for room included, in seconds.
        """

    @abstractmethod
    def abandon(self, parcel: Parcel) -> None:
        """Wait no longer for a parcel: its caller has left."""

    @abstractmethod
    async def close(self) -> None:
        """End the stream; every caller that waits is told that the client is closed."""

    def _pause_before_next_s(self, error: errors.BacklaneError | None) -> float | None:
        """Decide what follows a stream: the pause before another one, in seconds, or None.

        Args:
            error: what broke the stream; None where it ended well.
        """
        if self._outbox.answered > self._answered:
            self._answered = self._outbox.answered
            self._backoff = Backoff()
        if error is None and self._outbox.on_its_way:
            error = ended_early()
        if error is None:
            # Closed for being idle; a parcel may have come in all the same.
            self._outbox.rewind()
        else:
            log.debug("the stream of enqueues ended: %s", error)
            self._outbox.recover(error)
        if not len(self._outbox):
            self._backoff = Backoff()
            return None
        return 0.0 if error is None else self._backoff.pause_s(error)


def ended_early() -> errors.UnavailableError:
    """Return the error of a stream that ended well, with requests on it that have no answer."""
    text = "the stream ended before its answers"
    return errors.UnavailableError(errors.ErrorParts(grpc.StatusCode.UNAVAILABLE, text))


def unexpected(error: BaseException) -> errors.InternalError:
    """Log an error that is not gRPC's own, and return the error that callers get for it."""
    log.error("the stream of enqueues failed", exc_info=error)
    text = f"the stream of enqueues failed: {error!r}"
    return errors.InternalError(errors.ErrorParts(grpc.StatusCode.INTERNAL, text))
