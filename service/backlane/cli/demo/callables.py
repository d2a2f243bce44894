"""What the demo's workers run: `describe` reads a file and answers what is in it."""

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
    """What is in a file."""

    sha256: str
    lines: int
    words: int


@dataclass(frozen=True, slots=True)
class Question:
    """Which file to describe, and how long to take over it at least, in seconds."""

    path: Path
    pace_s: float = 0.0


def describe(question: Question) -> Facts:
    """Answer SHA-256, line and word count of a file."""
    if question.pace_s:
        # A small folder would be done before anything could be killed.
        time.sleep(question.pace_s)
    return describe_file(question.path)


def describe_file(path: Path) -> Facts:
    """Compute the facts of a file piece by piece, however large it is."""
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
