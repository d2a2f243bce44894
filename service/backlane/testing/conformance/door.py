"""Owns a port with nothing behind it: who connects is let in, sent away, and counted."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S: Final = 0.1
"""How often it is looked whether there is still hope, in seconds."""


class ShutDoor:
    """A port that a server will have later, and shares by then: SO_REUSEPORT is set."""

    def __init__(self, host: str, port: int) -> None:
        """Make a door; entering it opens the port."""
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
        # Ends the wait for a connection, which a close alone does not.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def wait_knocks(self, count: int, within_s: float, is_hopeless: Callable[[], bool]) -> bool:
        """Wait until somebody connected so many times, or there is no hope; return whether so."""
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
