"""Owns reading how much memory a process has."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIB = 1024 * 1024
ATTACK_BYTES_MAX = 256 * MIB
"""The most memory that a server may take in addition while it is attacked."""
AFTER_BYTES_MAX = 192 * MIB
"""The most memory that it may keep. Allocators keep some for the next time, however often."""
SAMPLE_S = 0.02


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) * 1024
    raise ProcessLookupError(process)


class Peak:
    """The most memory that a process had in a time."""

    def __init__(self, process: int) -> None:
        self.before = self.most = resident_bytes(process)
        self._process = process

    @property
    def growth(self) -> int:
        """How much more that was than before."""
        return self.most - self.before

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watch it during the block."""
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        while True:
            self.most = max(self.most, resident_bytes(self._process))
            await asyncio.sleep(SAMPLE_S)
