"""Owns what waits to go over an `EnqueueStream`, and what waits for its outcome.

This is bookkeeping alone: both kinds of pipes use it, under their own rules of waiting. A parcel is
what one caller hands in: one request or a slice of many. Parcels leave in the order in which they
came in. A message takes as many as there are, so that requests which come in while one message is
written go together in the next one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backlane import errors
from backlane.client.patience import is_passing, is_untold
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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
        requests: the enqueues; each has a request id.
        outcomes: those of the first requests, as far as they are known.
        done: called once every outcome is known, by the thread or task that reads the stream.
    """

    __slots__ = ("done", "doubtful", "is_abandoned", "outcomes", "requests", "sent", "size")

    def __init__(
        self, requests: Sequence[api.EnqueueRequest], size: int, done: Callable[[], object]
    ) -> None:
        """Wrap requests, whose encoded size is given in bytes."""
        self.requests = requests
        self.size = size
        self.done = done
        self.outcomes: list[Outcome] = []
        self.sent = 0
        # How many requests were sent on a stream that broke, and may have been enqueued there.
        self.doubtful = 0
        self.is_abandoned = False

    @property
    def is_done(self) -> bool:
        """Whether every outcome is known."""
        return len(self.outcomes) == len(self.requests)

    def note(self, outcome: Outcome) -> None:
        """Add the outcome of the next request.

        The error of a request that was sent before, on a stream that broke, is marked as one that
        may hide an execution.
        """
        if isinstance(outcome, errors.BacklaneError) and len(self.outcomes) < self.doubtful:
            outcome = outcome.after_another_attempt()
        self.outcomes.append(outcome)

    def refuse(self, error: errors.BacklaneError) -> None:
        """Give every request without an outcome the same error."""
        self.doubtful = max(self.doubtful, self.sent)
        for _ in range(len(self.requests) - len(self.outcomes)):
            self.note(error)
        self.done()


class Outbox:
    """Parcels in order: those at the front are answered, then sent, then waiting.

    Attributes:
        answered: how many requests the server has answered so far.
    """

    def __init__(self, *, waits: bool) -> None:
        """Begin empty.

        Args:
            waits: whether unanswered requests are sent again while the server is away.
        """
        self.answered = 0
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
        if not parcel.requests:
            parcel.done()
            return
        self._parcels[parcel] = None
        self._waiting[parcel] = None
        self._items += len(parcel.requests)
        self._bytes += parcel.size

    @property
    def is_wary(self) -> bool:
        """Whether a request on its way may be the reason why the last stream ended."""
        return self._suspects > 0

    def take(self) -> api.EnqueueStreamRequest | None:
        """Return the next message; None where there is nothing to send now."""
        if self.is_wary and self._unanswered:
            return None
        most = self._items_max
        requests: list[api.EnqueueRequest] = []
        size = 0
        while self._waiting and len(requests) < most and size < MESSAGE_BYTES:
            parcel = next(iter(self._waiting))
            part = parcel.requests[parcel.sent : parcel.sent + most - len(requests)]
            parcel.sent += len(part)
            requests += part
            size += parcel.size * len(part) // len(parcel.requests)
            if parcel.sent == len(parcel.requests):
                del self._waiting[parcel]
        return api.EnqueueStreamRequest(items=requests) if requests else None

    def answer(self, outcomes: Iterable[api.EnqueueOutcome]) -> errors.BacklaneError | None:
        """Hand out what the server answered to the oldest requests.

        Returns:
            The error of a server that is leaving and took a request, and all after it, not in:
            the stream is to be left, and they are to be sent again.
        """
        for outcome in outcomes:
            if not self._parcels:
                # The client was closed meanwhile, or the server answers what nobody asked.
                break
            if outcome.HasField("result"):
                self._note(outcome.result)
                continue
            error = errors.from_status(outcome.status)
            if self._waits and is_passing(error):
                return error
            self._note(_without_place(error))
        return None

    def rewind(self) -> None:
        """Send unanswered requests again on the next stream, but not those of abandoned parcels."""
        self._drop([parcel for parcel in self._parcels if parcel.is_abandoned])
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
        on_its_way = self._unanswered
        if not on_its_way:
            # The server refuses the stream itself, not a request on it.
            self.fail_all(error)
            return
        if on_its_way == 1:
            self._note(_without_place(error))
            self._items_max = MESSAGE_ITEMS_MAX
        elif self.is_wary:
            self._items_max = on_its_way // 2
        self._be_wary()

    def _be_wary(self) -> None:
        """Send unanswered requests again, one message at a time.

        Then it is known which message ends the stream, and no later write hides the reason.
        """
        self._suspects = self._unanswered
        self.rewind()

    def abandon(self, parcel: Parcel) -> None:
        """Wait no longer for a parcel: its caller has left."""
        parcel.is_abandoned = True
        if not parcel.sent and parcel in self._waiting:
            self._drop([parcel])
            del self._waiting[parcel]

    def fail_all(self, error: errors.BacklaneError) -> None:
        """End every parcel with an error."""
        parcels = list(self._parcels)
        self._drop(parcels)
        self._waiting.clear()
        for parcel in parcels:
            parcel.refuse(error)

    @property
    def is_awaiting(self) -> bool:
        """Whether requests are on their way."""
        return self._unanswered > 0

    @property
    def _unanswered(self) -> int:
        """How many requests are on their way."""
        return sum(parcel.sent - len(parcel.outcomes) for parcel in self._sent_parcels())

    def _sent_parcels(self) -> Iterator[Parcel]:
        for parcel in self._parcels:
            if not parcel.sent:
                return
            yield parcel

    def _note(self, outcome: Outcome) -> None:
        parcel = next(iter(self._parcels))
        parcel.note(outcome)
        self.answered += 1
        self._suspects = max(0, self._suspects - 1)
        if parcel.is_done:
            self._drop([parcel])
            parcel.done()

    def _drop(self, parcels: Iterable[Parcel]) -> None:
        for parcel in parcels:
            del self._parcels[parcel]
            self._items -= len(parcel.requests)
            self._bytes -= parcel.size


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
