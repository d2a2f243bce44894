"""Owns the reports of steps on their way to the server: their order, and who waits for an answer.

Each execution has one report on its way at a time, which the server records as a whole or not at
all. What happens meanwhile goes in the next one. So the order is kept even if a report has to be
sent again. The reports of all executions that are due go in one message.

Not thread-safe: the book's lock guards it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from backlane import errors
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.later import pause_after
from backlane.worker.results import MESSAGE_BYTES, MESSAGE_ITEMS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ACTIONS_MAX: Final = 1000
"""The most actions in a report."""
LAZY_S: Final = 0.005
"""How long a report may wait that nobody waits for, in seconds. The start of a short step so goes
together with its end."""


class Waiter(Protocol):
    """Somebody who waits until an action is recorded."""

    def end(self, error: BaseException | None) -> None:
        """End the wait: the action is recorded if there is no error. Called from any thread."""


class LoopWaiter:
    """Waits in a task of an event loop."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make one of the running loop."""
        self.loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def end(self, error: BaseException | None) -> None:
        """End the wait."""
        wake([(self, error)])


class ThreadWaiter:
    """Waits in a thread."""

    __slots__ = ("_ended",)

    def __init__(self) -> None:
        self._ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def end(self, error: BaseException | None) -> None:
        """End the wait."""
        self._ended.put(error)

    def wait(self) -> None:
        """Block until the wait ends, and raise its error."""
        error = self._ended.get()
        if error is not None:
            raise error


class Waiters:
    """Several who wait for one action."""

    __slots__ = ("_all",)

    def __init__(self, *waiters: Waiter) -> None:
        """Wait with all of them."""
        self._all = waiters

    def end(self, error: BaseException | None) -> None:
        """End the wait of each."""
        wake((waiter, error) for waiter in self._all)


class Entry(NamedTuple):
    """One thing that happened to a step, and who waits until it is recorded."""

    step_id: str
    action: api.StepAction
    waiter: Waiter | None = None


End = tuple[Waiter, BaseException | None]
"""The end of a wait."""


class Trail:
    """What one lease has to report, in order.

    Attributes:
        execution_id: the execution.
        lease_token: the lease.
        version: the version of the callable; may be empty.
        fault: the refusal of an action that nobody waited for.
        recorded: the ids of the steps whose start the server has recorded.
    """

    __slots__ = (
        *("execution_id", "fault", "has_result", "is_lost", "is_paused", "is_urgent"),
        *("lease_token", "one_by_one", "recorded", "sent", "sequence", "unsent", "version"),
    )

    def __init__(self, execution_id: str, lease_token: str, version: str) -> None:
        """Begin with nothing to report."""
        self.execution_id = execution_id
        self.lease_token = lease_token
        self.version = version
        self.fault: errors.BacklaneError | None = None
        self.recorded: set[str] = set()
        self.unsent: list[Entry] = []
        self.sent: deque[list[Entry]] = deque()
        self.sequence = 0
        self.is_urgent = False
        # After a refusal, so that one bad step does not have others refused.
        self.one_by_one = False
        self.has_result = False
        self.is_lost = False
        # After a temporary refusal, for a moment.
        self.is_paused = False

    def next_report(self) -> api.StepReport:
        """Make a report of what is not sent, and note that it is on its way."""
        count = min(len(self.unsent), ACTIONS_MAX)
        if self.one_by_one:
            first = self.unsent[0].step_id
            ids = [entry.step_id for entry in self.unsent]
            count = next((at for at, one in enumerate(ids) if one != first), count)
        entries, self.unsent = self.unsent[:count], self.unsent[count:]
        self.is_urgent = bool(self.unsent)
        self.sequence += 1
        self.sent.append(entries)
        return api.StepReport(
            execution_id=self.execution_id,
            lease_token=self.lease_token,
            actions=[entry.action for entry in entries],
            schema_version=self.version,
            sequence=self.sequence,
        )

    def take_back(self, entries: list[Entry]) -> None:
        """Note that a report was not recorded and has to be sent again."""
        self.unsent[:0] = entries
        self.is_urgent = True

    def waiters(self) -> list[Waiter]:
        """Return all who wait."""
        entries = [entry for part in (*self.sent, self.unsent) for entry in part]
        return [entry.waiter for entry in entries if entry.waiter is not None]


class Answered(NamedTuple):
    """What the answers to a message of reports mean.

    Attributes:
        ends: the waits that end.
        lost: the leases that are lost.
        again: what has to be sent again, and after how many seconds.
    """

    ends: list[End]
    lost: list[api.LeaseRef]
    again: list[tuple[Trail, float]]


class Reports:
    """The reports of all leases of a worker."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin without any; the clock gives monotonic seconds."""
        self._clock = clock
        self._trails: dict[str, Trail] = {}
        self._ready: dict[Trail, None] = {}
        # When each report that nobody waits for has to go, the earliest first.
        self._lazy: dict[Trail, float] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no lease has reported anything."""
        return not self._trails

    @property
    def is_calm(self) -> bool:
        """Whether nothing is to be sent, now or soon."""
        return not self._ready and not self._lazy

    @property
    def due_in_s(self) -> float | None:
        """In how many seconds a report has to go, if no other comes first; None for none."""
        first = next(iter(self._lazy.values()), None)
        return None if first is None else max(0.0, first - self._clock())

    def add(self, trail: Trail, entries: Iterable[Entry], *, is_urgent: bool) -> list[End]:
        """Report actions of a lease: now, or when its next report goes.

        Returns the waits that end at once, because the lease is lost.
        """
        entries = list(entries)
        if trail.is_lost or trail.has_result:
            return [(entry.waiter, _lost()) for entry in entries if entry.waiter is not None]
        self._trails[trail.lease_token] = trail
        trail.unsent += entries
        trail.is_urgent = trail.is_urgent or is_urgent
        if trail.is_urgent:
            self._lazy.pop(trail, None)
            self._make_ready(trail)
        elif trail not in self._lazy:
            self._lazy[trail] = self._clock() + LAZY_S
        return []

    def flush(self, trail: Trail, waiter: Waiter) -> list[End]:
        """End a wait once all that a lease has reported so far is recorded.

        Returns the waits that end at once.
        """
        if trail.is_lost or trail.has_result:
            return [(waiter, _lost())]
        entries = trail.unsent or (trail.sent[-1] if trail.sent else None)
        if not entries:
            return [(waiter, None)]
        last = entries[-1]
        both = waiter if last.waiter is None else Waiters(last.waiter, waiter)
        entries[-1] = last._replace(waiter=both)
        if trail.unsent:
            trail.is_urgent = True
            self._lazy.pop(trail, None)
            self._make_ready(trail)
        return []

    def take(self) -> api.WorkRequest | None:
        """Return a message of what is due."""
        now = self._clock()
        while self._lazy and (first := next(iter(self._lazy.items())))[1] <= now:
            del self._lazy[first[0]]
            first[0].is_urgent = True
            self._make_ready(first[0])
        if not self._ready:
            return None
        reports: list[api.StepReport] = []
        size = 0
        while self._ready and len(reports) < MESSAGE_ITEMS_MAX and size < MESSAGE_BYTES:
            trail = next(iter(self._ready))
            del self._ready[trail]
            reports.append(trail.next_report())
            size += reports[-1].ByteSize()
            if trail.has_result:
                self._make_ready(trail)
        return api.WorkRequest(steps=api.ReportStepsRequest(reports=reports))

    def conclude(self, tokens: Iterable[str]) -> None:
        """Note that leases have results: what they have to report goes before those."""
        for token in tokens:
            trail = self._trails.get(token)
            if trail is not None:
                trail.has_result = True
                trail.is_paused = False
                self._lazy.pop(trail, None)
                self._make_ready(trail)
                self._forget_if_done(trail)

    def lose(self, tokens: Iterable[str]) -> list[End]:
        """Forget leases that are lost, and return the waits that end by it."""
        found = [trail for token in tokens if (trail := self._trails.pop(token, None))]
        for trail in found:
            trail.is_lost = True
            self._ready.pop(trail, None)
            self._lazy.pop(trail, None)
        return [(waiter, _lost()) for trail in found for waiter in trail.waiters()]

    def answer(
        self, reports: Iterable[api.StepReport], refusals: Sequence[errors.BacklaneError | None]
    ) -> Answered:
        """Note the server's answers to a message.

        Args:
            reports: the reports of the message.
            refusals: for each of them, why it was refused; None if it was recorded.
        """
        done = Answered([], [], [])
        for report, error in zip(reports, refusals, strict=False):
            trail = self._trails.get(report.lease_token)
            if trail is None:
                continue
            entries = trail.sent.popleft()
            if error is None:
                trail.recorded.update(one.step_id for one in entries)
                done.ends.extend((one.waiter, None) for one in entries if one.waiter is not None)
            else:
                self._refuse(trail, entries, error, done)
            if trail.is_urgent:
                self._make_ready(trail)
            self._forget_if_done(trail)
        done.ends.extend(self.lose([ref.lease_token for ref in done.lost]))
        return done

    def again(self, trail: Trail) -> None:
        """Send a report again whose pause is over."""
        trail.is_paused = False
        if not trail.is_lost:
            self._make_ready(trail)

    def _refuse(
        self, trail: Trail, entries: list[Entry], error: errors.BacklaneError, done: Answered
    ) -> None:
        if isinstance(error, errors.LeaseLostError):
            trail.sent.appendleft(entries)
            ref = api.LeaseRef(execution_id=trail.execution_id, lease_token=trail.lease_token)
            done.lost.append(ref)
        elif error.is_retryable and not isinstance(error, errors.QuotaExceededError):
            trail.take_back(entries)
            trail.is_paused = True
            done.again.append((trail, pause_after(error)))
        elif len({entry.step_id for entry in entries}) > 1:
            trail.one_by_one = True
            trail.take_back(entries)
        else:
            waiters = [entry.waiter for entry in entries if entry.waiter is not None]
            done.ends.extend((waiter, error) for waiter in waiters)
            if not waiters:
                trail.fault = error

    def _make_ready(self, trail: Trail) -> None:
        # A second report may only follow if a result does, which ends the lease.
        if trail.unsent and not trail.is_paused and (trail.has_result or not trail.sent):
            self._ready[trail] = None

    def _forget_if_done(self, trail: Trail) -> None:
        if trail.has_result and not trail.unsent and not trail.sent:
            self._trails.pop(trail.lease_token, None)


def wake(ends: Iterable[End]) -> None:
    """End waits, those of one loop together."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[LoopWaiter, BaseException | None]]] = {}
    for waiter, error in ends:
        if isinstance(waiter, LoopWaiter):
            loops.setdefault(waiter.loop, []).append((waiter, error))
        else:
            waiter.end(error)
    for loop, group in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_end_on_loop, group)


def _end_on_loop(group: Iterable[tuple[LoopWaiter, BaseException | None]]) -> None:
    for waiter, error in group:
        if waiter.future.done():
            continue
        if error is None:
            waiter.future.set_result(None)
        else:
            waiter.future.set_exception(error)


def _lost() -> BaseException:
    return asyncio.CancelledError("lost")
