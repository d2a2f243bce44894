"""Owns the exit statuses, one table for all commands but those that run or test one."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """How a command ended, for scripts."""

    OK = 0
    ENDED_OTHERWISE = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4
    NOT_ENDED = 5
    REFUSED = 6
    DAMAGED = 7
    UNWRITTEN = 74
    INTERRUPTED = 130
    UNREAD = 141


MEANINGS: Final = {
    Exit.OK: "done",
    Exit.ENDED_OTHERWISE: "an execution ended with another status than completed",
    Exit.USAGE: "an argument, an option or the input cannot be used",
    Exit.NOT_FOUND: "the tenant has no such execution",
    Exit.UNAVAILABLE: "no server answers, or the server cannot do this now",
    Exit.NOT_ENDED: "the wait timed out before the execution ended",
    Exit.REFUSED: "conflict: already ended, a key that is taken, or no permission",
    Exit.DAMAGED: "the data directory is damaged",
    Exit.UNWRITTEN: "the output could not be written",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
    Exit.UNREAD: "the reader of the output went away",
}

_ANYWHERE: Final = (Exit.UNWRITTEN, Exit.INTERRUPTED, Exit.UNREAD)
"""Exit statuses that any command may have."""


def explain(*exits: Exit) -> str:
    """Return the paragraph of a command's help that explains its exit statuses."""
    told = [*exits, *(status for status in _ANYWHERE if status not in exits)]
    return f"Exit status: {'; '.join(f'{status:d} {MEANINGS[status]}' for status in told)}."
