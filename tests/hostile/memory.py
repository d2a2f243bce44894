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
AFTER_BYTES_MAX = 96 * MIB
"""The most memory that it may keep, once it had time to give some back."""
PATIENCE_S = 30.0
SAMPLE_S = 0.02


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) * 1024
    raise ProcessLookupError(process)


async def kept_bytes(process: int, before: int) -> int:
    """Return what a process keeps beyond what it had, once that is little or time has run out."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + PATIENCE_S
    while True:
        kept = resident_bytes(process) - before
        if kept < AFTER_BYTES_MAX or loop.time() > until_s:
            return kept
        await asyncio.sleep(SAMPLE_S)  # Another process's memory tells nobody that it changed.


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
