"""Owns the exit statuses of the commands that talk to a server: one table, the same for all."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """What a command's end means to a script."""

    OK = 0
    ENDED_OTHERWISE = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4
    NOT_ENDED = 5
    REFUSED = 6
    UNWRITTEN = 74
    INTERRUPTED = 130
    UNREAD = 141


MEANINGS: Final = {
    Exit.OK: "done",
    Exit.ENDED_OTHERWISE: "it ended otherwise than completed",
    Exit.USAGE: "an argument, an option or an input cannot be used",
    Exit.NOT_FOUND: "the tenant has no such execution",
    Exit.UNAVAILABLE: "no server answers, or it cannot do it now",
    Exit.NOT_ENDED: "the time to wait was over before the execution was",
    Exit.REFUSED: "things stand against it: already ended, a key that is taken, no permission",
    Exit.UNWRITTEN: "the output could not be written",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
    Exit.UNREAD: "whoever read the output went away",
}

_ANYWHERE: Final = (Exit.UNWRITTEN, Exit.INTERRUPTED, Exit.UNREAD)
"""What any command may end with."""


def explain(*exits: Exit) -> str:
    """Return the part of a command's help that says what its exit statuses mean."""
    told = [*exits, *(status for status in _ANYWHERE if status not in exits)]
    return f"Exit status: {'; '.join(f'{status:d} {MEANINGS[status]}' for status in told)}."
