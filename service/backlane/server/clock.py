"""Owns the hand on a test clock: lines on stdin move it, and lines on stdout say that it moved.

It is no call: whoever reaches the server over the network has no way to it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Final

from backlane._core import CoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOG = logging.getLogger(__name__)

_LINE_BYTES_MAX: Final = 1000
_SHOWN_MAX: Final = 60
_ADVANCE: Final = re.compile(r"advance (?P<ms>[0-9]{1,18})")


class ClockDesk:
    """Takes commands from a file, one a line, and answers each with one line."""

    def __init__(self, advance: Callable[[int], None], commands: int) -> None:
        """Describe a desk; `start` opens it.

        Args:
            advance: moves the clock by that many milliseconds; raises `CoreError` where it cannot.
            commands: the descriptor of the file that commands are read from.
        """
        self._advance = advance
        self._commands = commands

    def start(self) -> None:
        """Take commands on a thread of its own until there are no more."""
        threading.Thread(target=self._run, name="backlane-clock", daemon=True).start()

    def answer(self, line: str) -> str:
        """Do what a command says, and return what is answered."""
        match = _ADVANCE.fullmatch(line)
        if match is None:
            shown = line if len(line) <= _SHOWN_MAX else line[:_SHOWN_MAX] + "…"
            return f"clock refused: {shown!r} is not `advance MILLISECONDS`"
        try:
            self._advance(int(match["ms"]))
        except CoreError as error:
            return f"clock refused: {error}"
        return f"clock advanced {match['ms']}"

    def _run(self) -> None:
        try:
            for line in _lines(self._commands):
                sys.stdout.write(self.answer(line) + "\n")
                sys.stdout.flush()
        except OSError as error:
            _LOG.warning("the test clock is not moved any more: %s", error)


def _lines(descriptor: int) -> Iterator[str]:
    """Yield lines without their ends; of one that never ends, what there is of it."""
    # Unbuffered: a thread that waits in sys.stdin holds a lock that the interpreter's end wants.
    rest = b""
    while piece := os.read(descriptor, 4096):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _LINE_BYTES_MAX:
            lines, rest = [*lines, rest], b""
        yield from (line.decode(errors="replace").strip() for line in lines)
    if rest:
        yield rest.decode(errors="replace").strip()
