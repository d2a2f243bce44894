"""Owns the threads of plain callables, and those of `asyncio.to_thread`.

They are daemons: a callable that never returns must not keep the process from ending, as it would
in the standard library's pool.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def survive(do: Callable[[], object]) -> None:
    """Call a function, and print any exception to stderr, even one that ends a thread.

    For calls that a program's own code may break, such as logging with its own filters.
    """
    try:
        do()
    except BaseException:  # noqa: BLE001  # the code after it has to run in any case
        with contextlib.suppress(BaseException):
            traceback.print_exc()


class DaemonPool:
    """Runs functions on a limited number of threads, which are started when needed."""

    def __init__(self, most: int, name: str) -> None:
        """Make a pool without threads."""
        self._most = most
        self._name = name
        self._count = 0
        self._idle = 0
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    def submit(self, function: Callable[[], object]) -> None:
        """Run a function on the next free thread; an exception is printed to stderr."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._count < self._most:
                self._count += 1
                name = f"{self._name}-{self._count}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        self._waiting.put(function)

    def close(self) -> None:
        """Let every thread end after the submitted functions. Returns at once."""
        for _ in range(self._count):
            self._waiting.put(None)

    def _work(self) -> None:
        while (function := self._waiting.get()) is not None:
            survive(function)
            with self._lock:
                self._idle += 1


class DaemonExecutor(ThreadPoolExecutor):
    """An executor of an event loop with daemon threads; a loop accepts only this base class."""

    def __init__(self, name: str) -> None:
        """Make an executor with as many threads as a loop has by default, and start none."""
        super().__init__(thread_name_prefix=name)
        self._pool = DaemonPool(self._max_workers, name)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run a function on the next free thread."""
        future: Future[R] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  # raised again where it is awaited
                future.set_exception(error)
            else:
                future.set_result(result)

        self._pool.submit(work)
        return future

    def shutdown(self, *_: object, **__: object) -> None:
        """Let every thread end after the submitted functions. Returns at once."""
        self._pool.close()
