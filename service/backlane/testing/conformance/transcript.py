"""Owns the transcript of the messages between a worker and the played server."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from google.protobuf import text_format

if TYPE_CHECKING:
    from google.protobuf.message import Message

LINES_MAX: Final = 30
"""How many lines are kept. The last ones explain a failure."""
LINE_MAX: Final = 200


class Transcript:
    """The last messages of a run, with milliseconds since its start."""

    def __init__(self) -> None:
        """Make an empty transcript; times count from now."""
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=LINES_MAX)

    def sent(self, message: Message) -> None:
        """Record a message of the server."""
        self.note(f"server: {describe(message)}")

    def came(self, message: Message) -> None:
        """Record a message of the worker."""
        self.note(f"worker: {describe(message)}")

    def note(self, text: str) -> None:
        """Record another event."""
        milliseconds = round((time.monotonic() - self._began) * 1000)
        with self._lock:
            self._lines.append(f"{milliseconds:>6} ms  {text}")

    def lines(self) -> list[str]:
        """Return the last lines, the oldest first."""
        with self._lock:
            return list(self._lines)


def describe(message: Message) -> str:
    """Return a message in one line, cut if it is long."""
    text = text_format.MessageToString(
        message, as_one_line=True, as_utf8=False, print_unknown_fields=True
    )
    text = text or "no known field"
    return text if len(text) <= LINE_MAX else f"{text[:LINE_MAX]}… ({len(text)} characters)"
