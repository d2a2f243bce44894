"""Owns one `Work` stream as the server sees it: reads and answers messages, and waits for them."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import grpc

from backlane.testing.conformance.breach import BrokenRuleError
from backlane.testing.conformance.leases import refs
from backlane.testing.conformance.ledger import Ledger, Report
from backlane.testing.conformance.refusals import refusal
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from google.rpc import status_pb2

    from backlane.testing.conformance.ledger import Item
    from backlane.testing.conformance.transcript import Transcript

T = TypeVar("T")
End = Literal["half-closed", "broken"]
BREAK_S: Final = 0.1
"""If the call ends within this time after the worker's last message, the stream has broken."""
_STATUS_AFTER: Final = {
    "complete": records.BACKGROUND_EXECUTION_STATUS_COMPLETED,
    "fail": records.BACKGROUND_EXECUTION_STATUS_FAILED,
    "release": records.BACKGROUND_EXECUTION_STATUS_QUEUED,
    "suspend": records.BACKGROUND_EXECUTION_STATUS_RUNNING,
    "steps": records.BACKGROUND_EXECUTION_STATUS_RUNNING,
}


class EndOfStream(Exception):  # noqa: N818  # an end of a stream may be no error
    """The end of a stream by the server, with OK unless a status is given."""

    def __init__(self, status: status_pb2.Status | None = None) -> None:
        """Make an end of a status."""
        super().__init__(status)
        self.status = status


class Session:
    """A stream that a worker opened.

    Reports are answered at once, unless answers are withheld.

    Attributes:
        ledger: the events on the stream. Read it after a wait, since it may change at any time.
        ended: how the worker ended its side; None before that.
    """

    def __init__(self, transcript: Transcript, patience_s: float) -> None:
        """Make a session; `serve` runs it.

        Args:
            transcript: records the messages.
            patience_s: how long to wait for any one event, in seconds.
        """
        self.ledger = Ledger()
        self.ended: End | None = None
        self._transcript = transcript
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._down: queue.SimpleQueue[api.WorkResponse | EndOfStream] = queue.SimpleQueue()
        self._refusals: defaultdict[str, deque[status_pb2.Status]] = defaultdict(deque)
        self._lost: set[str] = set()
        self._withheld: deque[list[Report]] | None = None
        self._withholds_at: Callable[[Report], bool] | None = None
        self._lingers = False

    # What the server's thread does.

    def serve(self, requests: Iterator[api.WorkRequest], is_over: threading.Event) -> None:
        """Read the stream in a thread of its own.

        Args:
            requests: what the worker says.
            is_over: is set once the whole call is over, in both directions.
        """
        threading.Thread(
            target=self._read, args=(requests, is_over), name="session", daemon=True
        ).start()

    def down(self) -> Iterator[api.WorkResponse]:
        """Yield what to send, until the stream's end.

        Raises:
            EndOfStream: it ends with a status.
        """
        while isinstance(message := self._down.get(), api.WorkResponse):
            yield message
        if message.status is not None:
            raise message

    def close(self) -> None:
        """End what is sent, once nobody is there to hear it."""
        self._down.put(EndOfStream())

    def _read(self, requests: Iterator[api.WorkRequest], is_over: threading.Event) -> None:
        try:
            for request in requests:
                self._take(request)
        except grpc.RpcError:
            pass
        # gRPC reports a broken call in two steps, and the first looks like a half-close.
        self._note_end("broken" if is_over.wait(BREAK_S) else "half-closed")

    def _take(self, request: api.WorkRequest) -> None:
        self._transcript.came(request)
        with self._changed:
            reports = self.ledger.note(request, time.monotonic())
            if self._withholds_at is not None and any(map(self._withholds_at, reports)):
                self._withheld, self._withholds_at = deque(), None
            if reports and self._withheld is not None:
                self._withheld.append(reports)
            elif reports:
                self._answer(reports)
            self._changed.notify_all()

    def _note_end(self, end: End) -> None:
        with self._changed:
            self.ended = end
            if end == "broken" or not (self._withheld or self._lingers):
                self._down.put(EndOfStream())
            self._changed.notify_all()
        self._transcript.note(f"worker: stream {end}")

    def _answer(self, reports: Sequence[Report]) -> None:
        outcomes = [self._outcome(report) for report in reports]
        self.send(api.WorkResponse(outcomes=api.WorkOutcomes(outcomes=outcomes)))

    def _outcome(self, report: Report) -> api.LeaseOutcome:
        if self._refusals[report.token]:
            return api.LeaseOutcome(status=self._refusals[report.token].popleft())
        if report.token in self._lost:
            return api.LeaseOutcome(status=refusal("LEASE_LOST"))
        return outcome_of(report.kind, report.item)

    # What a rule's check does.

    def send(self, message: api.WorkResponse) -> None:
        """Send a message."""
        self._transcript.sent(message)
        self._down.put(message)

    def end(self, status: status_pb2.Status | None = None) -> None:
        """End the stream with a status, or with OK."""
        code = grpc.StatusCode.OK.name if status is None else status.message
        self._transcript.note(f"server: ends the stream: {code}")
        self._down.put(EndOfStream(status))

    def linger(self) -> None:
        """Do not end the stream after the worker's half-close, but only by `end`."""
        self._lingers = True

    def welcome(self, held: Sequence[api.LeaseRef], lease_ms: int) -> None:
        """Answer the hello."""
        with self._changed:
            self.ledger.take_over(ref.lease_token for ref in held)
        welcome = api.WorkWelcome(
            held=held, lease_duration_ms=lease_ms, server_version="conformance"
        )
        self.send(api.WorkResponse(welcome=welcome))

    def lease(self, *leases: api.Lease) -> None:
        """Wait for credit for these leases, then send them in one message."""
        self.wait(
            lambda ledger: ledger.credit >= len(leases),
            f"credit for {len(leases)} more did not come, and nothing else keeps a slot busy",
        )
        self.push(*leases)

    def push(self, *leases: api.Lease) -> None:
        """Send leases in one message, without waiting for credit."""
        with self._changed:
            self.ledger.give(leases)
        self.send(api.WorkResponse(leases=api.WorkLeases(leases=leases)))

    def cancel(self, *leases: api.Lease) -> None:
        """Ask the worker to stop leases."""
        self.send(api.WorkResponse(cancels=api.WorkCancels(leases=refs(leases))))

    def pause(self, *leases: api.Lease) -> None:
        """Tell the worker that a pause of these executions was requested."""
        self.send(api.WorkResponse(pauses=api.WorkPauses(leases=refs(leases))))

    def lose(self, *leases: api.Lease) -> None:
        """Tell the worker that leases are lost."""
        tokens = {lease.lease_token for lease in leases}
        with self._changed:
            self.ledger.withdraw(tokens)
            self._lost |= tokens
        self.send(api.WorkResponse(lost=api.WorkLost(leases=refs(leases))))

    def drain(self) -> None:
        """Tell the worker that the server is stopping."""
        self.send(api.WorkResponse(drain=api.WorkServerDrain()))

    def refuse(self, lease: api.Lease, *statuses: status_pb2.Status) -> None:
        """Answer the next reports on a lease with these errors, one each."""
        with self._changed:
            self._refusals[lease.lease_token].extend(statuses)

    def withhold(self, at: Callable[[Report], bool] | None = None) -> None:
        """Stop answering reports: now, or from the message with the first report that fits."""
        with self._changed:
            if at is None:
                self._withheld = deque()
            else:
                self._withholds_at = at

    def answer_withheld(self) -> None:
        """Answer the withheld reports, and all later ones."""
        with self._changed:
            for reports in self._withheld or ():
                self._answer(reports)
            self._withheld = None
            if self.ended:
                self._down.put(EndOfStream())

    def wait(
        self, found: Callable[[Ledger], T], otherwise: str, within_s: float | None = None
    ) -> T:
        """Wait until `found` returns a true value for the ledger, and return that value.

        Args:
            found: looks for an event in the ledger.
            otherwise: the message of the error.
            within_s: how long to wait, in seconds; the session's patience by default.

        Raises:
            BrokenRuleError: the event did not come in time, or the stream ended before.
        """
        within_s = self._patience_s if within_s is None else within_s
        deadline = time.monotonic() + within_s
        with self._changed:
            while not (result := found(self.ledger)):
                if self.ended:
                    raise BrokenRuleError(f"{otherwise}: the worker's stream {_past(self.ended)}")
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise BrokenRuleError(f"{otherwise}, within {within_s:g} s")
                self._changed.wait(left_s)
            return result

    def passes(self, seconds: float, found: Callable[[Ledger], object]) -> bool:
        """Watch some seconds for an event that should not come; return whether it did not."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not found(self.ledger) and (left_s := deadline - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return not found(self.ledger)

    def hello(self) -> api.WorkHello:
        """Wait for the first message, which has to be a hello, and return it."""
        self.wait(lambda ledger: ledger.received, "the stream was opened, but no hello came")
        _, first = self.ledger.received[0]
        kind = first.WhichOneof("message")
        if kind != "hello":
            raise BrokenRuleError(f"the first message is {kind or 'empty'}, and should be hello")
        return first.hello

    def acknowledged(self, *leases: api.Lease) -> None:
        """Wait until leases are acknowledged."""
        self.wait(
            lambda ledger: all(lease.lease_token in ledger.acknowledged for lease in leases),
            "a lease was not acknowledged",
        )

    def report(
        self, lease: api.Lease, *, nth: int = 1, within_s: float | None = None, otherwise: str = ""
    ) -> Report:
        """Wait for the first or the nth report on a lease, and return it."""
        name = lease.execution.callable_name
        wanted = "report" if nth == 1 else f"report number {nth}"
        return self.wait(
            lambda ledger: ledger.reports_of(lease.lease_token)[nth - 1 :],
            otherwise or f"no {wanted} of the lease of {name} came",
            within_s,
        )[0]

    def half_closed(self, within_s: float | None = None) -> None:
        """Wait until the worker half-closes.

        Raises:
            BrokenRuleError: the worker does not half-close in time, or breaks the stream.
        """
        within_s = self._patience_s if within_s is None else within_s
        with self._changed:
            self._changed.wait_for(lambda: self.ended, within_s)
        if self.ended != "half-closed":
            how = "the stream broke" if self.ended else f"nothing ended it within {within_s:g} s"
            raise BrokenRuleError(f"the worker should half-close its stream; {how}")


def outcome_of(kind: str, item: Item) -> api.LeaseOutcome:
    """Return the answer to a report on a lease that the worker holds."""
    result = api.LeaseResult(execution_id=item.execution_id, status=_STATUS_AFTER[kind])
    return api.LeaseOutcome(result=result)


def _past(end: End) -> str:
    return "was half-closed" if end == "half-closed" else "broke"
