"""Owns the leases that a worker holds and the messages that it still has to send, over reconnects.

A result is kept until the server has answered it. Without an answer it is sent again on the next
stream, where the server answers as it did the first time.

A lease is *held* from its arrival until its result is answered. It is *open* until it has a result
or is lost. It keeps its *slot* until its callable has ended, even if the lease is lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from backlane.v1 import worker_service_pb2 as api
from backlane.worker.lane import Lane
from backlane.worker.later import Later
from backlane.worker.reports import Reports, wake
from backlane.worker.results import (
    MESSAGE_BYTES,
    MESSAGE_ITEMS_MAX,
    culprit_of,
    message_of,
    one_by_one,
    refs_of,
    results_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from backlane.errors import BacklaneError
    from backlane.worker.lane import Begun
    from backlane.worker.reports import Entry, Trail, Waiter
    from backlane.worker.results import Result

HELD_MAX: Final = 10_000
"""The most leases that the hello of a stream may name."""
ADVANCE_EACH_S: Final = 0.1
"""The least time between two messages about progress, in seconds. The server shows no more."""
ACKNOWLEDGE_WITHIN_S: Final = 0.005
"""How long an acknowledgement may wait, in seconds. A result that comes meanwhile replaces it."""


class Book:
    """The leases held, the results without an answer, and the lanes. Thread-safe."""

    def __init__(
        self, *slots: int, silence_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make an empty book.

        Args:
            slots: the most leases that may run at once, for each lane.
            silence_s: after how many seconds without a message to send a heartbeat.
            clock: gives monotonic seconds.
        """
        self.lanes = tuple(Lane(number, most, clock) for number, most in enumerate(slots))
        self.clock = clock
        self._silence_s = silence_s
        # Reentrant, because a signal handler may call `drain` while this thread has the lock.
        self._said = threading.Condition(threading.RLock())
        self._stream = 0
        # By token, since an execution may be leased again while an old attempt still runs here.
        self._held: dict[str, str] = {}
        self._open: set[str] = set()
        self._lane_of: dict[str, Lane] = {}
        self._unsaid: deque[Result] = deque()
        self._reports = Reports(time.monotonic)
        self._later = Later(time.monotonic)
        self._repeat: deque[api.WorkRequest] = deque()
        self._unanswered: deque[api.WorkRequest] = deque()
        self._control: deque[api.WorkRequest] = deque()
        # The newest progress of open leases that was not sent, and when it may be.
        self._advances: dict[str, api.ProgressReport] = {}
        self._advances_at = 0.0
        # Begun and not acknowledged, and the time of the first of them.
        self._begun: dict[str, str] = {}
        self._begun_at = 0.0
        # The lanes that may owe credit, and the number of leases that the server may still send.
        self._changed: dict[Lane, None] = {}
        self._promised = 0
        self._draining = False
        self._server_drains = False

    def begin_stream(self, hello: api.WorkHello) -> Iterator[api.WorkRequest]:
        """Return the messages for a new stream: first the hello with the leases held.

        The iterator blocks until there is a message. It ends when the stream is given up, or when
        everything is sent and answered after a drain. The iterators of older streams end at once.
        """
        with self._said:
            self._stream += 1
            # What is left to repeat of an older stream was said after these.
            self._repeat.extendleft(reversed(self._unanswered))
            self._unanswered.clear()
            self._control.clear()
            self._begun.clear()
            for lane in self.lanes:
                lane.begin_stream()
            self._changed = dict.fromkeys(self.lanes)
            self._promised = 0
            self._server_drains = False
            hello.held.extend(refs_of(self._held.items()))
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

    def arrive(self, leases: Sequence[api.Lease], *, acknowledge: bool = True) -> list[Begun]:
        """Record new leases of one lane, and return those to run now: the others wait for a slot.

        A lease is acknowledged when it is to run, unless told not to.
        """
        if not leases:
            return []
        arrived = {lease.lease_token: lease.execution.execution_id for lease in leases}
        with self._said:
            lane = self.lanes[leases[0].lane]
            self._held.update(arrived)
            self._open.update(arrived)
            self._lane_of.update(dict.fromkeys(arrived, lane))
            self._changed[lane] = None
            self._promised -= len(arrived)
            begun = [(lease, 0.0) for lease in lane.arrive(leases)]
            if acknowledge:
                self._acknowledge(begun)
            return begun

    def settle(self, results: Sequence[Result]) -> list[Begun]:
        """Record results and free their slots. Results of lost leases are dropped.

        Returns the leases to run now in the slots that became free.
        """
        tokens = [result.lease_token for result in results]
        with self._said:
            is_open, begun = self._open, self._begun
            pairs = zip(results, tokens, strict=True)
            self._unsaid.extend([result for result, token in pairs if token in is_open])
            is_open.difference_update(tokens)
            self._drop_advances(tokens)
            if begun:
                for token in tokens:
                    begun.pop(token, None)
            if not self._reports.is_idle:
                self._reports.conclude(tokens)
            return self._free(tokens)

    def advance(self, report: api.ProgressReport) -> None:
        """Report the progress of an open lease soon. A later report replaces it until then."""
        with self._said:
            if report.lease_token in self._open:
                self._advances[report.lease_token] = report
                self._said.notify_all()

    def vacate(self, token: str) -> list[Begun]:
        """Free the slot of a lease whose callable has ended and that needs no report.

        Returns the leases to run now in its slot.
        """
        with self._said:
            wake(self._reports.lose([token]))
            return self._free([token])

    def report(self, trail: Trail, entries: Iterable[Entry], *, is_urgent: bool) -> None:
        """Report what happened to steps of a lease.

        Args:
            trail: the lease's reports.
            entries: what happened, in order.
            is_urgent: whether to send it now; otherwise it goes with what comes soon.
        """
        with self._said:
            was_calm = self._reports.is_calm
            wake(self._reports.add(trail, entries, is_urgent=is_urgent))
            # What can wait goes with what waits already: the sender need not wake up for it.
            if was_calm or trail.is_urgent:
                self._said.notify_all()

    def flush(self, trail: Trail, waiter: Waiter) -> None:
        """End a wait once all that a lease has reported so far is recorded."""
        with self._said:
            wake(self._reports.flush(trail, waiter))
            self._said.notify_all()

    def answer_reports(
        self, reports: Sequence[api.StepReport], refusals: Sequence[BacklaneError | None]
    ) -> list[api.LeaseRef]:
        """Note the server's answers to reports, and return the leases that are lost.

        Args:
            reports: the reports of one message.
            refusals: for each of them, why it was refused; None if it was recorded.
        """
        with self._said:
            done = self._reports.answer(reports, refusals)
            for trail, pause_s in done.again:
                self._later.add(pause_s, partial(self._reports.again, trail))
            self._said.notify_all()
        wake(done.ends)
        return done.lost

    def give_back(self, tokens: Iterable[str]) -> None:
        """Give back those of the leases that wait for a slot."""
        with self._said:
            self._release([token for token in tokens if self._waits(token)])

    def give_back_overdue(self, lane: Lane) -> None:
        """Give back the leases of a lane that have waited for a slot too long."""
        with self._said:
            self._release(lane.overdue())

    def release_open(self) -> None:
        """Give back every lease without a result, even if its callable still runs."""
        with self._said:
            self._release(list(self._open))

    def _release(self, tokens: list[str]) -> None:
        if tokens:
            self.settle(refs_of([(token, self._held[token]) for token in tokens]))

    def _waits(self, token: str) -> bool:
        lane = self._lane_of.get(token)
        return lane is not None and lane.waits(token)

    def _free(self, tokens: Sequence[str]) -> list[Begun]:
        """Free the slots of leases, and return the leases to run now in them."""
        owners = [self._lane_of.pop(token, None) for token in tokens]
        begun: list[Begun] = []
        for lane in {lane for lane in owners if lane is not None}:
            pairs = zip(tokens, owners, strict=True)
            lane.free([token for token, owner in pairs if owner is lane])
            begun += lane.begin()
            self._changed[lane] = None
        self._acknowledge(begun)
        self._said.notify_all()
        return begun

    def _acknowledge(self, begun: list[Begun]) -> None:
        """Acknowledge leases soon."""
        if begun and not self._begun:
            # The thread that sends waits for too long otherwise.
            self._begun_at = time.monotonic()
            self._said.notify_all()
        for lease, _ in begun:
            self._begun[lease.lease_token] = lease.execution.execution_id

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
                self._later.add(pause_s, partial(self._unsaid.extend, results))
            else:
                self._unsaid.extend(results)
            self._said.notify_all()

    def lose(self, refs: Iterable[api.LeaseRef]) -> set[str]:
        """Forget lost leases, and return the tokens of those that were open."""
        with self._said:
            return self._forget({ref.lease_token for ref in refs} & self._open)

    def doubt(self, error: BacklaneError) -> list[Result]:
        """Find what the server refused as a whole when it ended a stream with an error.

        Of a message with several results or reports each is sent alone on the next stream, so that
        only the bad one is refused. If it was alone, a report of steps counts as refused with the
        error, and a result is returned: it must not be sent again unchanged.
        """
        with self._said:
            culprit = culprit_of(error, self._unanswered)
            if culprit is None:
                return []
            at = self._unanswered.index(culprit)
            del self._unanswered[at]
            alone = one_by_one(culprit)
            if len(alone) > 1:
                for request in reversed(alone):
                    self._unanswered.insert(at, request)
                return []
            reports = culprit.steps.reports
            self.answer_reports(reports, [error] * len(reports))
            results = list(results_of(culprit))
            for result in results:
                self._held.pop(result.lease_token, None)
            return results

    def drain(self) -> None:
        """Take no more leases; the stream's messages end when everything is answered."""
        with self._said:
            if not self._draining:
                self._draining = True
                self._control.append(api.WorkRequest(drain=api.WorkDrain()))
                self._release([token for lane in self.lanes for token in lane.waiting()])
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
                self._later.say_due()
                request = self._take()
                if request is not None:
                    return request
                if (self._draining or self._server_drains) and self.is_empty:
                    # Leases that are on their way arrive before the server ends the stream. They
                    # are reported on the next stream.
                    return None
                left_s = due - time.monotonic()
                if left_s <= 0:
                    return api.WorkRequest(heartbeat=api.WorkHeartbeat())
                if self._advances:
                    left_s = min(left_s, max(0.0, self._advances_at - time.monotonic()))
                if self._begun:
                    left_s = min(left_s, ACKNOWLEDGE_WITHIN_S)
                for due_in_s in (self._reports.due_in_s, self._later.due_in_s):
                    left_s = left_s if due_in_s is None else min(left_s, due_in_s)
                self._said.wait(left_s)
            return None

    def _take(self) -> api.WorkRequest | None:
        if self._control:
            return self._control.popleft()
        if self._repeat:
            request = self._repeat.popleft()
        elif (reports := self._reports.take()) is not None:
            # Before results: the last report of a lease must not come after its result.
            request = reports
        elif self._unsaid:
            request = self._take_results()
        else:
            return self._take_credit() or self._take_acknowledgement() or self._take_advances()
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
        return message_of(batch)

    def _take_credit(self) -> api.WorkRequest | None:
        """Return a message that gives credit to a lane, if it is time for one."""
        most = HELD_MAX - len(self._held) - self._promised
        while self._changed and most > 0 and not (self._draining or self._server_drains):
            lane = next(iter(self._changed))
            credit = lane.owed(most)
            if credit is not None:
                self._promised += credit.executions + credit.prefetch
                return api.WorkRequest(credit=credit)
            del self._changed[lane]
        return None

    def _take_acknowledgement(self) -> api.WorkRequest | None:
        """Acknowledge leases whose results have not come soon."""
        if not self._begun or time.monotonic() < self._begun_at + ACKNOWLEDGE_WITHIN_S:
            return None
        tokens = list(self._begun)[:MESSAGE_ITEMS_MAX]
        refs = refs_of([(token, self._begun.pop(token)) for token in tokens])
        return api.WorkRequest(acknowledge=api.WorkAcknowledge(leases=refs))

    def _take_advances(self) -> api.WorkRequest | None:
        """Report the newest progress of all leases in one message, if it is time for one."""
        now = time.monotonic()
        if not self._advances or now < self._advances_at:
            return None
        self._advances_at = now + ADVANCE_EACH_S
        tokens = list(self._advances)[:MESSAGE_ITEMS_MAX]
        reports = [self._advances.pop(token) for token in tokens]
        return api.WorkRequest(progress=api.ReportProgressRequest(reports=reports))

    def _drop_advances(self, tokens: Iterable[str]) -> None:
        if self._advances:
            for token in tokens:
                self._advances.pop(token, None)

    def _forget(self, tokens: set[str]) -> set[str]:
        self._open -= tokens
        self._drop_advances(tokens)
        for token in tokens:
            self._held.pop(token, None)
            self._begun.pop(token, None)
        wake(self._reports.lose(tokens))
        self._free([token for token in tokens if self._waits(token)])
        return tokens
