"""Owns what is kept of a conversation between a worker and the played server, for people."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from google.protobuf import text_format

if TYPE_CHECKING:
    from google.protobuf.message import Message

LINES_MAX: Final = 30
"""Lines kept; the end of a conversation is what explains a failure."""
LINE_MAX: Final = 200


class Transcript:
    """The last lines of a conversation, with milliseconds since its begin."""

    def __init__(self) -> None:
        """Begin with nothing; time counts from now."""
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=LINES_MAX)

    def sent(self, message: Message) -> None:
        """Note what the server said."""
        self.note(f"server: {describe(message)}")

    def came(self, message: Message) -> None:
        """Note what the worker said."""
        self.note(f"worker: {describe(message)}")

    def note(self, text: str) -> None:
        """Note whatever else happened."""
        milliseconds = round((time.monotonic() - self._began) * 1000)
        with self._lock:
            self._lines.append(f"{milliseconds:>6} ms  {text}")

    def lines(self) -> list[str]:
        """Return the last lines, the oldest first."""
        with self._lock:
            return list(self._lines)


def describe(message: Message) -> str:
    """Show a message in one line, cut where it is long."""
    text = text_format.MessageToString(
        message, as_one_line=True, as_utf8=False, print_unknown_fields=True
    )
    text = text or "nothing known"
    return text if len(text) <= LINE_MAX else f"{text[:LINE_MAX]}… ({len(text)} characters)"
