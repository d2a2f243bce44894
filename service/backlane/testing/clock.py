"""Owns the clock that a test moves: how far a server's time is ahead of the machine's."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from backlane.schema.records import BackgroundExecution

_MILLISECOND: Final = timedelta(milliseconds=1)
_LOOK_S: Final = 0.05
"""How long `play_out` waits for an end between two looks, in seconds."""


class _Handle(Protocol):
    """What `play_out` needs of a `backlane.Handle`."""

    def get(self) -> BackgroundExecution: ...

    def wait(self, timeout: float | None = None) -> Any: ...  # noqa: ANN401  # not looked at


class ClockError(Exception):
    """The server did not move its clock; the message is its own, or says that it has ended."""


class Clock:
    """A running clock that can be moved forward, and never back.

    Everything of the server follows it: starts, backoffs, timeouts, deadlines, leases, retention.
    A move is like that time passing in silence, so that what runs meanwhile under a shorter lease
    loses it. Clients and workers keep the machine's clock.
    """

    def __init__(self, ask: Callable[[str], str]) -> None:
        """Hold the clock of a server.

        Args:
            ask: sends the server one command and returns its answer, empty where there is none.
        """
        self._ask = ask
        self._ahead = timedelta(0)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """Tell how far ahead it is."""
        return f"<Clock {self._ahead} ahead>"

    @property
    def ahead(self) -> timedelta:
        """How far it is ahead of the machine's clock."""
        return self._ahead

    def now(self) -> datetime:
        """Return the server's time, in UTC."""
        return datetime.now(UTC) + self._ahead

    def advance(self, span: float | timedelta) -> None:
        """Move the clock forward, and return once the server's time is the later one.

        What falls due by it is decided before any call that is made from now on. May be called
        from any thread.

        Args:
            span: how far, in seconds; whole milliseconds count.

        Raises:
            ValueError: it is negative.
            ClockError: the server refused it, as it does beyond 50 years, or has ended.
        """
        ahead = span if isinstance(span, timedelta) else timedelta(seconds=span)
        if ahead < timedelta(0):
            raise ValueError(f"a clock moves forward only, not by {span}")
        milliseconds = round(ahead / _MILLISECOND)
        with self._lock:
            answer = self._ask(f"advance {milliseconds}")
            if answer != f"clock advanced {milliseconds}":
                raise ClockError(answer or "the server has ended, or does not answer")
            self._ahead += milliseconds * _MILLISECOND

    def play_out(self, handle: _Handle, *, timeout: float = 30.0) -> BackgroundExecution:
        """Skip what an execution waits for, its start and its backoffs, until it has ended.

        A worker has to run it.

        Args:
            handle: the execution.
            timeout: how long its attempts may take together, in seconds of the machine.

        Returns:
            Its record.

        Raises:
            TimeoutError: it has not ended within `timeout`.
            ClockError: as `advance` raises it.
        """
        over = time.monotonic() + timeout
        while not (record := handle.get()).is_finished:
            if time.monotonic() > over:
                raise TimeoutError(f"not ended within {timeout} s: {record}")
            due = record.next_attempt_at or record.not_before
            if record.status == "queued" and due is not None and due > self.now():
                self.advance(due - self.now() + _MILLISECOND)
            else:
                # Of the server's waits, so that its end is seen at once.
                with contextlib.suppress(TimeoutError):
                    handle.wait(timeout=_LOOK_S)
        return record
