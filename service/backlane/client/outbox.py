"""Owns what waits to go over an `EnqueueStream`, and what waits for its outcome.

This is bookkeeping alone: both kinds of pipes use it, under their own rules of waiting. A parcel is
what one caller hands in: one request or a slice of many. Parcels leave in the order in which they
came in. A message takes as many whole parcels as there are and it can hold, so that requests which
come in while one message is written go together in the next one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backlane import errors
from backlane.sdk.backoff import is_passing, is_untold
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MESSAGE_ITEMS_MAX: Final = 500
MESSAGE_BYTES: Final = 1 << 20
"""A message that reaches this size is closed; one request may exceed it by itself."""
_PLACE: Final = re.compile(r"^items\[\d+\]\.")
UNANSWERED_ITEMS_MAX: Final = 10_000
UNANSWERED_BYTES_MAX: Final = 8 << 20

Outcome = api.EnqueueResult | errors.BacklaneError
"""What became of one request."""


class Parcel:
    """Requests of one caller, and their outcomes in order.

    Attributes:
        encoded: the requests, as an encoded `EnqueueStreamRequest`; each has a request id.
        count: how many they are.
        outcomes: those of the first requests, as far as they are known.
        done: called once every outcome is known, by the thread or task that reads the stream.
    """

    __slots__ = ("count", "done", "doubtful", "encoded", "is_abandoned", "outcomes", "sent")

    def __init__(self, encoded: bytes, count: int, done: Callable[[], object]) -> None:
        """Wrap so many requests."""
        self.encoded = encoded
        self.count = count
        self.done = done
        self.outcomes: list[Outcome] = []
        self.sent = 0
        # How many requests were sent on a stream that broke, and may have been enqueued there.
        self.doubtful = 0
        self.is_abandoned = False

    @property
    def is_done(self) -> bool:
        """Whether every outcome is known."""
        return len(self.outcomes) == self.count

    def take(self, most: int) -> bytes:
        """Return the requests to send next, and count them as sent."""
        first, self.sent = self.sent, min(self.count, self.sent + most)
        if self.sent - first == self.count:
            return self.encoded
        items = api.EnqueueStreamRequest.FromString(self.encoded).items[first : self.sent]
        return api.EnqueueStreamRequest(items=items).SerializeToString()

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Add the outcomes of the next requests.

        The error of a request that was sent before, on a stream that broke, is marked as one that
        may hide an execution.
        """
        doubtful = self.doubtful - len(self.outcomes)
        if doubtful > 0:
            self.outcomes += map(_marked, outcomes[:doubtful])
            outcomes = outcomes[doubtful:]
        self.outcomes += outcomes

    def refuse(self, error: errors.BacklaneError) -> None:
        """Give every request without an outcome the same error."""
        self.doubtful = max(self.doubtful, self.sent)
        self.note([error] * (self.count - len(self.outcomes)))
        self.done()


class Outbox:
    """Parcels in order: those at the front are answered, then sent, then waiting.

    Attributes:
        answered: how many requests the server has answered so far.
        on_its_way: how many requests are sent and not answered yet.
    """

    def __init__(self, *, waits: bool) -> None:
        """Begin empty.

        Args:
            waits: whether unanswered requests are sent again while the server is away.
        """
        self.answered = 0
        self.on_its_way = 0
        self._waits = waits
        # Ordered, and a parcel in the middle can be removed quickly.
        self._parcels: OrderedDict[Parcel, None] = OrderedDict()
        self._waiting: OrderedDict[Parcel, None] = OrderedDict()
        self._items = 0
        self._bytes = 0
        self._suspects = 0
        self._items_max = MESSAGE_ITEMS_MAX

    def __len__(self) -> int:
        """Count the parcels without all their outcomes."""
        return len(self._parcels)

    @property
    def has_room(self) -> bool:
        """Whether more should be handed in now."""
        return self._items < UNANSWERED_ITEMS_MAX and self._bytes < UNANSWERED_BYTES_MAX

    def add(self, parcel: Parcel) -> None:
        """Take a parcel in; an empty one, of inputs that could not be sent, is done at once."""
        if not parcel.count:
            parcel.done()
            return
        self._parcels[parcel] = None
        self._waiting[parcel] = None
        self._items += parcel.count
        self._bytes += len(parcel.encoded)

    @property
    def is_wary(self) -> bool:
        """Whether a request on its way may be the reason why the last stream ended."""
        return self._suspects > 0

    @property
    def is_gathering(self) -> bool:
        """Whether single requests should wait for more, because fewer wait than are on their way.

        Callers that are answered soon enqueue again, and each message costs the server a commit.
        """
        waiting = len(self._waiting)
        if not 0 < waiting < min(self.on_its_way, self._items_max):
            return False
        first = next(iter(self._waiting))
        return first.count == 1 and waiting * len(first.encoded) < MESSAGE_BYTES

    def take(self) -> bytes | None:
        """Return the next message, encoded; None where there is nothing to send now.

        A message is made of whole parcels, whose encodings one after another are that of one
        message. Only a parcel that exceeds a message by itself is divided.
        """
        if self.is_wary and self.on_its_way:
            return None
        parts: list[bytes] = []
        count = size = 0
        while self._waiting and size < MESSAGE_BYTES:
            parcel = next(iter(self._waiting))
            if parts and count + parcel.count - parcel.sent > self._items_max:
                break
            count -= parcel.sent
            parts.append(parcel.take(self._items_max))
            count += parcel.sent
            size += len(parts[-1])
            if parcel.sent < parcel.count:
                break
            del self._waiting[parcel]
        self.on_its_way += count
        return b"".join(parts) if parts else None

    def answer(self, outcomes: Iterable[api.EnqueueOutcome]) -> errors.BacklaneError | None:
        """Hand out what the server answered to the oldest requests.

        Returns:
            The error of a server that is leaving and took a request, and all after it, not in:
            the stream is to be left, and they are to be sent again.
        """
        noted: list[Outcome] = []
        leaving = None
        for outcome in outcomes:
            if outcome.HasField("result"):
                noted.append(outcome.result)
                continue
            error = errors.from_status(outcome.status)
            if self._waits and is_passing(error):
                leaving = error
                break
            noted.append(_without_place(error))
        self._note(noted)
        return leaving

    def rewind(self) -> None:
        """Send unanswered requests again on the next stream, but not those of abandoned parcels."""
        self.on_its_way = 0
        for parcel in [one for one in self._parcels if one.is_abandoned]:
            self._drop(parcel)
        for parcel in self._parcels:
            parcel.doubtful = max(parcel.doubtful, parcel.sent)
            parcel.sent = len(parcel.outcomes)
        self._waiting = self._parcels.copy()

    def recover(self, error: errors.BacklaneError) -> None:
        """Decide what follows a broken stream: send again, send with more care, or give up."""
        if is_untold(error) and not self._waits:
            self.fail_all(_broken(error))
        elif is_untold(error):
            self._be_wary()
        elif is_passing(error) and self._waits:
            self.rewind()
        elif isinstance(error, errors.InvalidArgumentError | errors.OutOfRangeError):
            self._blame(error)
        else:
            self.fail_all(error)

    def _blame(self, error: errors.BacklaneError) -> None:
        """Find the request that made the server end a stream, in ever smaller messages.

        A request that was alone on the stream is the reason, and it alone is refused. If half a
        message passes, this server takes smaller messages than others do, and gets smaller ones
        from now on.
        """
        on_its_way = self.on_its_way
        if not on_its_way:
            # The server refuses the stream itself, not a request on it.
            self.fail_all(error)
            return
        if on_its_way == 1:
            self._note([_without_place(error)])
            self._items_max = MESSAGE_ITEMS_MAX
        elif self.is_wary:
            self._items_max = on_its_way // 2
        self._be_wary()

    def _be_wary(self) -> None:
        """Send unanswered requests again, one message at a time.

        Then it is known which message ends the stream, and no later write hides the reason.
        """
        self._suspects = self.on_its_way
        self.rewind()

    def abandon(self, parcel: Parcel) -> None:
        """Wait no longer for a parcel: its caller has left."""
        parcel.is_abandoned = True
        if not parcel.sent and parcel in self._waiting:
            self._drop(parcel)
            del self._waiting[parcel]

    def fail_all(self, error: errors.BacklaneError) -> None:
        """End every parcel with an error."""
        self.on_its_way = 0
        self._waiting.clear()
        for parcel in list(self._parcels):
            self._drop(parcel)
            parcel.refuse(error)

    def _note(self, outcomes: Sequence[Outcome]) -> None:
        """Hand outcomes to the oldest parcels.

        Those beyond what is on its way are left out: the client was closed meanwhile, or the server
        answers what nobody asked.
        """
        noted, most = 0, min(len(outcomes), self.on_its_way)
        while noted < most:
            parcel = next(iter(self._parcels))
            part = outcomes[noted : min(most, noted + parcel.count - len(parcel.outcomes))]
            parcel.note(part)
            noted += len(part)
            if parcel.is_done:
                self._drop(parcel)
                parcel.done()
        self.answered += noted
        self.on_its_way -= noted
        self._suspects = max(0, self._suspects - noted)

    def _drop(self, parcel: Parcel) -> None:
        del self._parcels[parcel]
        self._items -= parcel.count
        self._bytes -= len(parcel.encoded)


def _marked(outcome: Outcome) -> Outcome:
    if isinstance(outcome, errors.BacklaneError):
        return outcome.after_another_attempt()
    return outcome


def _broken(error: errors.BacklaneError) -> errors.BacklaneError:
    parts = errors.ErrorParts(errors.REASONS["DRAINING"].code, f"the stream broke: {error.message}")
    return errors.UnavailableError(parts)


def _without_place(error: errors.BacklaneError) -> errors.BacklaneError:
    """Return an error whose fields are named as in a single request, without `items[N].`."""
    parts = error.parts
    return type(error)(
        replace(
            parts,
            message=_PLACE.sub("", parts.message),
            metadata={name: _PLACE.sub("", text) for name, text in parts.metadata.items()},
            violations=tuple(
                errors.FieldViolation(_PLACE.sub("", field), description)
                for field, description in parts.violations
            ),
        )
    )
