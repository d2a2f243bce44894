"""Owns a port without a server: connections are accepted, closed and counted."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S: Final = 0.1
"""How often to check whether to give up waiting, in seconds."""


class ShutDoor:
    """A port that a server shares later, with SO_REUSEPORT."""

    def __init__(self, host: str, port: int) -> None:
        """Make a door; the context manager opens the port."""
        self._address = (host, port)
        self._knocks = 0
        self._changed = threading.Condition()
        self._socket = socket.socket()
        self._thread = threading.Thread(target=self._answer, name="shut-door", daemon=True)

    def __enter__(self) -> Self:
        """Open the port."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(self._address)
        self._socket.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the port."""
        # Ends the wait in `accept`, which a close would not.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def wait_knocks(self, count: int, within_s: float, is_hopeless: Callable[[], bool]) -> bool:
        """Wait for that many connections; return whether they came.

        Args:
            count: how many.
            within_s: how long to wait, in seconds.
            is_hopeless: tells whether to give up earlier.
        """
        deadline = time.monotonic() + within_s
        with self._changed:
            while self._knocks < count and not is_hopeless():
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(min(left_s, LOOK_S))
            return self._knocks >= count

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._socket.accept()[0].close()
                with self._changed:
                    self._knocks += 1
                    self._changed.notify_all()
