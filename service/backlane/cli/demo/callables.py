"""What the demo's workers run: `describe` reads a file and answers what is in it."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from backlane.v1.worker_service_pb2 import Lease

CALLABLE: Final = "demo.describe"
PIECE_BYTES: Final = 1 << 20
SPACE: Final = b" \t\n\r\v\f"

Facts = dict[str, str | float]
"""The keys `sha256`, `lines` and `words`. The counts are floats, as every JSON number is."""


def describe(lease: Lease) -> Facts:
    """Answer SHA-256, line and word count of the file that the input names."""
    asked = json.loads(lease.execution.input)
    if asked["pace_s"]:
        # A small folder would be done before anything could be killed.
        time.sleep(asked["pace_s"])
    return describe_file(Path(asked["path"]))


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
    return {"sha256": digest.hexdigest(), "lines": float(lines), "words": float(words)}
