"""Owns a port with nothing behind it: who connects is let in, sent away, and counted."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the port."""
        # Ends the wait for a connection, which a close alone does not.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def wait_knocks(self, count: int, within_s: float) -> bool:
        """Wait until somebody connected so many times; return whether they did."""
        with self._changed:
            return self._changed.wait_for(lambda: self._knocks >= count, within_s)

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._socket.accept()[0].close()
                with self._changed:
                    self._knocks += 1
                    self._changed.notify_all()
