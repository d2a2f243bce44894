"""Owns the clock that a test can move: how far a server's time is ahead of the machine's."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from backlane.schema.records import BackgroundExecution
    from backlane.schema.runs import ExecutionRun

_MILLISECOND: Final = timedelta(milliseconds=1)
_LOOK_S: Final = 0.05
"""How long `play_out` waits for the end between two checks, in seconds."""


class _Handle(Protocol):
    """The part of `backlane.Handle` that `play_out` needs."""

    def get(self) -> BackgroundExecution: ...

    def execution_run(self) -> ExecutionRun: ...

    def wait(self, timeout: float | None = None) -> Any: ...  # noqa: ANN401  # not looked at


class ClockError(Exception):
    """The server did not move its clock; the message is the server's, or says that it has ended."""


class Clock:
    """A running clock that can be moved forward, but not back.

    Everything in the server follows the clock: start times, retry delays, timeouts, deadlines,
    leases and retention. During a move no worker can send a heartbeat, so that an execution whose
    lease is shorter than the move loses its lease. Clients and workers use the machine's clock.
    """

    def __init__(self, ask: Callable[[str], str]) -> None:
        """Make the clock of a server.

        Args:
            ask: sends the server a command and returns its answer; empty if there is no answer.
        """
        self._ask = ask
        self._ahead = timedelta(0)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """Return how far ahead the clock is."""
        return f"<Clock {self._ahead} ahead>"

    @property
    def ahead(self) -> timedelta:
        """How far the clock is ahead of the machine's."""
        return self._ahead

    def now(self) -> datetime:
        """Return the server's time, in UTC."""
        return datetime.now(UTC) + self._ahead

    def advance(self, span: float | timedelta) -> None:
        """Move the clock forward, and return when the server has the later time.

        Whatever becomes due by the move happens before any later call. May be called from any
        thread.

        Args:
            span: how far to move, in seconds, rounded to milliseconds.

        Raises:
            ValueError: the span is negative.
            ClockError: the server has ended, or refused the move, as it does beyond 50 years.
        """
        ahead = span if isinstance(span, timedelta) else timedelta(seconds=span)
        if ahead < timedelta(0):
            raise ValueError(f"a clock moves forward only, not by {span}")
        milliseconds = round(ahead / _MILLISECOND)
        with self._lock:
            answer = self._ask(f"advance {milliseconds}")
            if answer != f"clock advanced {milliseconds}":
                raise ClockError(answer or "the server has ended, or does not reply")
            self._ahead += milliseconds * _MILLISECOND

    def play_out(self, handle: _Handle, *, timeout: float = 30.0) -> BackgroundExecution:
        """Skip the start time, retry delays and sleeps of an execution until it has ended.

        A worker has to run the execution. A wait for an input is not skipped, even if it has a
        timeout.

        Args:
            handle: the execution.
            timeout: how long all attempts may take, in seconds of the machine's clock.

        Returns:
            The execution's record.

        Raises:
            TimeoutError: the execution has not ended within `timeout`.
            ClockError: as in `advance`.
        """
        over = time.monotonic() + timeout
        while not (record := handle.get()).is_finished:
            if time.monotonic() > over:
                raise TimeoutError(f"not ended within {timeout} s: {record}")
            due = _due(record, handle)
            if due is not None and due > self.now():
                self.advance(due - self.now() + _MILLISECOND)
            else:
                # The server answers the wait as soon as the execution ends.
                with contextlib.suppress(TimeoutError):
                    handle.wait(timeout=_LOOK_S)
        return record


def _due(record: BackgroundExecution, handle: _Handle) -> datetime | None:
    """Return when an execution goes on by itself; None if it runs, or waits for an input."""
    if record.status == "queued":
        return record.next_attempt_at or record.not_before
    run = handle.execution_run()
    if run.state != "Waiting":
        return None
    waits = [step for step in run.steps if step.step_type == "wait" and step.state == "Running"]
    if any(step.input_key for step in waits):
        return None
    return min((step.wait_until for step in waits if step.wait_until is not None), default=None)
