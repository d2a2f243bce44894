"""Owns the threads that plain callables run on, and those of `asyncio.to_thread`.

They are daemons: a callable that never returns must not keep the process from ending, which the
standard library's pool would.
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


class DaemonExecutor(ThreadPoolExecutor):
    """An event loop's executor on such threads: a loop takes nothing but this class for it."""

    def __init__(self, name: str) -> None:
        """Make one of as many threads as a loop has by default, without any of them yet."""
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
            except BaseException as error:  # noqa: BLE001  # whoever awaits it gets it
                future.set_exception(error)
            else:
                future.set_result(result)

        self._pool.submit(work)
        return future

    def shutdown(self, *_: object, **__: object) -> None:
        """Let every thread end once what was submitted is done; blocks nobody."""
        self._pool.close()
