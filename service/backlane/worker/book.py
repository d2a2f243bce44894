"""Owns the leases that a worker holds and the messages that it still has to send, over reconnects.

A result is kept until the server has answered it. Without an answer it is sent again on the next
stream, where the server answers as it did the first time.

A lease is *held* from its arrival until its result is answered. It is *open* until it has a result
or is lost. It keeps its *slot* until its callable has ended, even if the lease is lost: credit is
given for free slots only.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Result = api.CompleteResult | api.Failure | api.LeaseRef
"""The result of a lease; a bare `LeaseRef` gives the lease back."""

MESSAGE_ITEMS_MAX: Final = 1000
MESSAGE_BYTES: Final = 4 << 20
"""No result is added to a message of this size; the transport's limit is five times as high."""


class Book:
    """The leases held, the results without an answer, and the credit given. Thread-safe."""

    def __init__(self, slots: int, silence_s: float) -> None:
        """Make an empty book.

        Args:
            slots: the most leases that may run at once.
            silence_s: after how many seconds without a message to send a heartbeat.
        """
        self._slots = slots
        self._silence_s = silence_s
        # Reentrant, because a signal handler may call `drain` while this thread has the lock.
        self._said = threading.Condition(threading.RLock())
        self._stream = 0
        # By token, since an execution may be leased again while an old attempt still runs here.
        self._held: dict[str, str] = {}
        self._open: set[str] = set()
        self._taken: set[str] = set()
        self._unsaid: deque[Result] = deque()
        self._repeat: deque[api.WorkRequest] = deque()
        self._unanswered: deque[api.WorkRequest] = deque()
        self._control: deque[api.WorkRequest] = deque()
        self._credit = 0
        self._draining = False
        self._server_drains = False

    @property
    def slots(self) -> int:
        """The most leases that may run at once."""
        return self._slots

    def begin_stream(self, hello: api.WorkHello) -> Iterator[api.WorkRequest]:
        """Return the messages for a new stream: first the hello with the leases held.

        The iterator blocks until there is a message. It ends when the stream is given up, or when
        everything is sent and answered after a drain. The iterators of older streams end at once.
        """
        with self._said:
            self._stream += 1
            self._repeat.extend(self._unanswered)
            self._unanswered.clear()
            self._control.clear()
            self._credit = 0
            self._server_drains = False
            hello.held.extend(_refs(self._held.items()))
            self._control.append(api.WorkRequest(hello=hello))
            if self._draining:
                self._control.append(api.WorkRequest(drain=api.WorkDrain()))
            self._said.notify_all()
            return self._messages(self._stream)

    def give_up_stream(self) -> None:
        """End the iterator of the current stream."""
        with self._said:
            self._stream += 1
            self._said.notify_all()

    def welcome(self, held: Iterable[api.LeaseRef]) -> set[str]:
        """Forget the open leases that the server no longer counts as held.

        Leases with a result stay: the server may have received it. Returns the tokens of the
        leases that are lost.
        """
        with self._said:
            kept = {ref.lease_token for ref in held}
            return self._forget(self._open - kept)

    def arrive(self, leases: Iterable[api.Lease], *, acknowledge: bool = True) -> None:
        """Record new leases, and acknowledge them unless told not to."""
        refs = {lease.lease_token: lease.execution.execution_id for lease in leases}
        with self._said:
            self._held.update(refs)
            self._open.update(refs)
            self._taken.update(refs)
            self._credit -= len(refs)
            if acknowledge:
                self._control.extend(_acknowledgements(_refs(refs.items())))
                self._said.notify_all()

    def settle(self, results: Iterable[Result]) -> None:
        """Record results and free their slots. Results of lost leases are dropped."""
        with self._said:
            for result in results:
                token = result.lease_token
                self._taken.discard(token)
                if token in self._open:
                    self._open.remove(token)
                    self._unsaid.append(result)
            self._said.notify_all()

    def vacate(self, token: str) -> None:
        """Free the slot of a lease whose callable has ended and that needs no report."""
        with self._said:
            self._taken.discard(token)
            self._said.notify_all()

    def release_open(self) -> None:
        """Give back every lease without a result, even if its callable still runs."""
        with self._said:
            self.settle(_refs([(token, self._held[token]) for token in self._open]))

    def answer(self) -> api.WorkRequest:
        """Return the oldest message without an answer, which the server has just answered."""
        with self._said:
            request = self._unanswered.popleft()
            for result in results_of(request):
                self._held.pop(result.lease_token, None)
            self._said.notify_all()
            return request

    def settle_again(self, results: Iterable[Result], pause_s: float = 0.0) -> None:
        """Record what to report in place of results that the server has refused.

        Args:
            results: the new reports; their leases count as held until these are answered.
            pause_s: how long to wait before sending them, in seconds.
        """
        results = list(results)
        with self._said:
            self._held.update({result.lease_token: result.execution_id for result in results})
        if pause_s:
            later = threading.Timer(pause_s, self._say, [results])
            later.daemon = True
            later.start()
        else:
            self._say(results)

    def _say(self, results: Iterable[Result]) -> None:
        with self._said:
            self._unsaid.extend(results)
            self._said.notify_all()

    def lose(self, refs: Iterable[api.LeaseRef]) -> set[str]:
        """Forget lost leases, and return the tokens of those that were open."""
        with self._said:
            return self._forget({ref.lease_token for ref in refs} & self._open)

    def doubt(self) -> list[Result]:
        """Take back all results without an answer, for they must not be sent again unchanged."""
        with self._said:
            doubtful = [*self._repeat, *self._unanswered]
            self._repeat.clear()
            self._unanswered.clear()
            results = [result for request in doubtful for result in results_of(request)]
            for result in results:
                self._held.pop(result.lease_token, None)
            return results

    def drain(self) -> None:
        """Take no more leases; the stream's messages end when everything is answered."""
        with self._said:
            if not self._draining:
                self._draining = True
                self._control.append(api.WorkRequest(drain=api.WorkDrain()))
                self._said.notify_all()

    def server_drains(self) -> None:
        """Give no more credit on this stream, and end it when no lease is held."""
        with self._said:
            self._server_drains = True
            self._said.notify_all()

    @property
    def is_draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    @property
    def is_empty(self) -> bool:
        """Whether no lease is held and no result waits for an answer."""
        with self._said:
            return not (self._held or self._unsaid or self._unanswered or self._repeat)

    def _messages(self, stream: int) -> Iterator[api.WorkRequest]:
        while (request := self._next(stream)) is not None:
            yield request

    def _next(self, stream: int) -> api.WorkRequest | None:
        # Computed once: the wait is woken again and again by changes that bring no message.
        due = time.monotonic() + self._silence_s
        with self._said:
            while self._stream == stream:
                request = self._take()
                if request is not None:
                    return request
                if (self._draining or self._server_drains) and self.is_empty:
                    # Leases that are on their way arrive before the server ends the stream. They
                    # are reported on the next stream.
                    return None
                left_s = due - time.monotonic()
                if left_s <= 0 or not self._said.wait(left_s):
                    return api.WorkRequest(heartbeat=api.WorkHeartbeat())
            return None

    def _take(self) -> api.WorkRequest | None:
        if self._control:
            return self._control.popleft()
        if self._repeat:
            request = self._repeat.popleft()
        elif self._unsaid:
            request = self._take_results()
        else:
            return self._take_credit()
        self._unanswered.append(request)
        return request

    def _take_results(self) -> api.WorkRequest:
        """Put results of one kind, the oldest first, into one message."""
        kind = type(self._unsaid[0])
        batch: list[Result] = []
        size = 0
        while self._unsaid and len(batch) < MESSAGE_ITEMS_MAX and size < MESSAGE_BYTES:
            if type(self._unsaid[0]) is not kind:
                break
            batch.append(self._unsaid.popleft())
            size += batch[-1].ByteSize()
        return _message(batch)

    def _take_credit(self) -> api.WorkRequest | None:
        """Return a message that gives credit for free slots, if it is time for one.

        Without credit left, one free slot is enough. Otherwise a few slots are given together,
        which saves messages.
        """
        owed = self._slots - len(self._taken) - self._credit
        few = max(1, self._slots // 4) if self._credit > 0 else 1
        if self._draining or self._server_drains or owed < few:
            return None
        self._credit += owed
        return api.WorkRequest(credit=api.WorkCredit(executions=owed))

    def _forget(self, tokens: set[str]) -> set[str]:
        self._open -= tokens
        for token in tokens:
            self._held.pop(token, None)
        self._said.notify_all()
        return tokens


def results_of(request: api.WorkRequest) -> Iterable[Result]:
    """Return the results that a message reports."""
    match request.WhichOneof("message"):
        case "complete":
            return request.complete.results
        case "fail":
            return request.fail.failures
        case _:
            return request.release.releases


def _message(batch: list[Result]) -> api.WorkRequest:
    """Make one message of results of one kind."""
    match batch[0]:
        case api.CompleteResult():
            results = cast("list[api.CompleteResult]", batch)
            return api.WorkRequest(complete=api.CompleteRequest(results=results))
        case api.Failure():
            failures = cast("list[api.Failure]", batch)
            return api.WorkRequest(fail=api.FailRequest(failures=failures))
        case api.LeaseRef():
            releases = cast("list[api.LeaseRef]", batch)
            return api.WorkRequest(release=api.ReleaseRequest(releases=releases))


def _acknowledgements(refs: list[api.LeaseRef]) -> Iterator[api.WorkRequest]:
    for start in range(0, len(refs), MESSAGE_ITEMS_MAX):
        message = api.WorkAcknowledge(leases=refs[start : start + MESSAGE_ITEMS_MAX])
        yield api.WorkRequest(acknowledge=message)


def _refs(held: Iterable[tuple[str, str]]) -> list[api.LeaseRef]:
    """Make references from pairs of token and execution id."""
    return [api.LeaseRef(execution_id=execution, lease_token=token) for token, execution in held]
