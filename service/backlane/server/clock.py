"""Owns the control of a test clock: commands on stdin move it, and stdout has the answers.

It is not a gRPC call, so that no client can move the clock over the network.
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
    """Reads commands from a file, one per line, and answers each with one line."""

    def __init__(self, advance: Callable[[int], None], commands: int) -> None:
        """Make a desk; `start` begins to read.

        Args:
            advance: moves the clock by a number of milliseconds; raises `CoreError` if it cannot.
            commands: the file descriptor to read commands from.
        """
        self._advance = advance
        self._commands = commands

    def start(self) -> None:
        """Read commands on a new thread until the end of the file."""
        threading.Thread(target=self._run, name="backlane-clock", daemon=True).start()

    def answer(self, line: str) -> str:
        """Carry out a command and return the answer."""
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
            _LOG.warning("the test clock cannot be moved any more: %s", error)


def _lines(descriptor: int) -> Iterator[str]:
    """Yield lines without their line ends. A line that is too long is yielded in parts."""
    # Not through sys.stdin: a thread that waits there holds a lock that the interpreter needs to
    # exit.
    rest = b""
    while piece := os.read(descriptor, 4096):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _LINE_BYTES_MAX:
            lines, rest = [*lines, rest], b""
        yield from (line.decode(errors="replace").strip() for line in lines)
    if rest:
        yield rest.decode(errors="replace").strip()
