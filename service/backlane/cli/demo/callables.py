"""The callable of the demo's workers: `describe` reads a file and counts what is in it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # inputs are validated against it
from typing import Final

CALLABLE: Final = "demo.describe"
PIECE_BYTES: Final = 1 << 20
SPACE: Final = b" \t\n\r\v\f"


@dataclass(frozen=True, slots=True)
class Facts:
    """The results for a file."""

    sha256: str
    lines: int
    words: int


@dataclass(frozen=True, slots=True)
class Question:
    """The file to describe, and the least time to take for it, in seconds."""

    path: Path
    pace_s: float = 0.0


def describe(question: Question) -> Facts:
    """Return SHA-256, line count and word count of a file."""
    if question.pace_s:
        # Without it a small folder would be finished before anything could be killed.
        time.sleep(question.pace_s)
    return describe_file(question.path)


def describe_file(path: Path) -> Facts:
    """Describe a file of any size, piece by piece."""
    digest = hashlib.sha256()
    lines = words = 0
    is_inside_word = False
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            lines += piece.count(b"\n")
            words += len(piece.split())
            # A word that began in the piece before was counted there.
            words -= is_inside_word and piece[0] not in SPACE
            is_inside_word = piece[-1] not in SPACE
    return Facts(digest.hexdigest(), lines, words)
