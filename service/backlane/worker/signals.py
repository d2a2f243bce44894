"""Owns the signals that stop a worker."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from backlane.forks import deliver_to_forks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Drainable(Protocol):
    """Something that a signal drains."""

    def drain(self) -> None:
        """Drain; a second call hurries."""


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that drain a worker: SIGTERM, SIGINT, and usually SIGHUP.

    A terminal that closes sends SIGHUP. Under `nohup` the signal is ignored, and stays so; a
    handler that the program has set stays too.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        return signal.SIGTERM, signal.SIGINT, signal.SIGHUP
    return signal.SIGTERM, signal.SIGINT


@contextmanager
def signals_to(shift: Drainable) -> Iterator[None]:
    """Drain on each of the stop signals while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    deliver_to_forks()
    ours = os.getpid()

    def drain(number: int, _frame: FrameType | None) -> None:
        if os.getpid() == ours:
            shift.drain()
        else:
            # This is a child that a callable forked. It has no worker to drain, and has to end.
            signal.signal(number, before[number])
            os.kill(os.getpid(), number)

    before: dict[int, Any] = {  # the handlers that `signal.signal` returned
        number: signal.signal(number, drain) for number in stop_signals()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
