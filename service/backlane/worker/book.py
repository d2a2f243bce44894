"""Owns what a worker holds and what it still has to say, over all streams of its life.

A result is kept until the server answered it, and said again on the next stream where an answer
did not come: the server answers a repeated outcome as it did the first time.

A lease is *held* from its arrival to the answer of its result, *open* until it has a result or is
lost, and keeps its *slot* until its callable has ended, lost or not: credit is given for free
slots alone.
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
"""What became of a lease; a bare `LeaseRef` gives it back."""

MESSAGE_ITEMS_MAX: Final = 1000
MESSAGE_BYTES: Final = 4 << 20
"""Results of that many encoded bytes close a message; the transport takes five times as much."""


class Book:
    """Leases held, results not answered, credit given. Every method is safe from any thread."""

    def __init__(self, slots: int, silence_s: float) -> None:
        """Begin with nothing.

        Args:
            slots: how many leases may run here at once.
            silence_s: after how many seconds without a message a heartbeat is due.
        """
        self._slots = slots
        self._silence_s = silence_s
        # A reentrant lock, because a signal's handler may call `drain` wherever it interrupts.
        self._said = threading.Condition(threading.RLock())
        self._stream = 0
        # By token: one execution may be leased again while an old attempt still runs here.
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

    def begin_stream(self, hello: api.WorkHello) -> Iterator[api.WorkRequest]:
        """Return what to say on a new stream: the hello first, with all that is held.

        The iterator blocks between messages, and ends where the stream was given up, or where all
        is said and answered after a drain. That of an older stream ends at once.
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
        """End the iterator of the newest stream."""
        with self._said:
            self._stream += 1
            self._said.notify_all()

    def welcome(self, held: Iterable[api.LeaseRef]) -> set[str]:
        """Forget what the server no longer counts as held, but for results that may be in.

        Returns the tokens of the leases that are lost.
        """
        with self._said:
            kept = {ref.lease_token for ref in held}
            return self._forget(self._open - kept)

    def arrive(self, leases: Iterable[api.Lease], *, acknowledge: bool = True) -> None:
        """Note new leases, and acknowledge them where asked."""
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
        """Take results in, and free their slots; results of leases lost meanwhile are dropped."""
        with self._said:
            for result in results:
                token = result.lease_token
                self._taken.discard(token)
                if token in self._open:
                    self._open.remove(token)
                    self._unsaid.append(result)
            self._said.notify_all()

    def vacate(self, token: str) -> None:
        """Free the slot of a lease whose callable ended, and about which nothing is to be said."""
        with self._said:
            self._taken.discard(token)
            self._said.notify_all()

    def release_open(self) -> None:
        """Give back every lease that has no result yet, whatever still runs."""
        with self._said:
            self.settle(_refs([(token, self._held[token]) for token in self._open]))

    def answer(self) -> api.WorkRequest:
        """Return the oldest unanswered message: the server has just answered it."""
        with self._said:
            request = self._unanswered.popleft()
            for result in results_of(request):
                self._held.pop(result.lease_token, None)
            self._said.notify_all()
            return request

    def settle_again(self, results: Iterable[Result], pause_s: float = 0.0) -> None:
        """Take in what follows results that the server has answered with a refusal.

        Args:
            results: what to say; their leases count as held meanwhile.
            pause_s: how long to wait before that, in seconds.
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
        """Forget leases that are another's now, and return the tokens of those that were open."""
        with self._said:
            return self._forget({ref.lease_token for ref in refs} & self._open)

    def doubt(self) -> list[Result]:
        """Take back all results that have no answer: as they stand they cannot be said again."""
        with self._said:
            doubtful = [*self._repeat, *self._unanswered]
            self._repeat.clear()
            self._unanswered.clear()
            results = [result for request in doubtful for result in results_of(request)]
            for result in results:
                self._held.pop(result.lease_token, None)
            return results

    def drain(self) -> None:
        """Take no further leases; once all is answered the stream's messages end."""
        with self._said:
            if not self._draining:
                self._draining = True
                self._control.append(api.WorkRequest(drain=api.WorkDrain()))
                self._said.notify_all()

    def server_drains(self) -> None:
        """Give no further credit on this stream, and end it once nothing is held."""
        with self._said:
            self._server_drains = True
            self._said.notify_all()

    @property
    def is_draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held and nothing waits for an answer."""
        with self._said:
            return not (self._held or self._unsaid or self._unanswered or self._repeat)

    def _messages(self, stream: int) -> Iterator[api.WorkRequest]:
        while (request := self._next(stream)) is not None:
            yield request

    def _next(self, stream: int) -> api.WorkRequest | None:
        # Not anew after each word to the book: of those that bring no message there is no end.
        due = time.monotonic() + self._silence_s
        with self._said:
            while self._stream == stream:
                request = self._take()
                if request is not None:
                    return request
                if (self._draining or self._server_drains) and self.is_empty:
                    # Leases on their way still come before the server ends the stream; the next
                    # stream speaks of them.
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
        """Gather results of one kind, the oldest first, into one message."""
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
        """Give credit for free slots: at once where none is left, else for some of them together.

        While the server may still send, a slot waits for a few others, which saves messages.
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
    """Make one message of results that are all of one kind."""
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
    """Name leases from pairs of token and execution."""
    return [api.LeaseRef(execution_id=execution, lease_token=token) for token, execution in held]
