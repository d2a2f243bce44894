"""Owns the threads that plain callables run on.

They are daemons: a callable that never returns must not keep the process from ending, which the
standard library's pool would.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def survive(do: Callable[[], object]) -> None:
    """Do something, and print what it raises to stderr, be it what ends a thread.

    For what a program's own code may break, such as the log with a filter of its own.
    """
    try:
        do()
    except BaseException:  # noqa: BLE001  # whatever it is, what follows matters more
        with contextlib.suppress(BaseException):
            traceback.print_exc()


class DaemonPool:
    """Runs functions on at most so many threads, which are started when they are needed."""

    def __init__(self, most: int, name: str) -> None:
        """Make a pool without any thread yet."""
        self._most = most
        self._name = name
        self._count = 0
        self._idle = 0
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    def submit(self, function: Callable[[], object]) -> None:
        """Run a function on the next free thread; what it raises is printed to stderr."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._count < self._most:
                self._count += 1
                name = f"{self._name}-{self._count}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        self._waiting.put(function)

    def close(self) -> None:
        """Let every thread end once what was submitted is done; blocks nobody."""
        for _ in range(self._count):
            self._waiting.put(None)

    def _work(self) -> None:
        while (function := self._waiting.get()) is not None:
            survive(function)
            with self._lock:
                self._idle += 1
