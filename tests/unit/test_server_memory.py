"""Memory that is no longer used goes back to the operating system."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from backlane.server import memory
from backlane.server.memory import EVERY_MAX_S, EVERY_S, SPARE_BYTES, Memory

if TYPE_CHECKING:
    import pytest


class Process:
    """A process whose memory a test sets, with a count of the times that it gave some back."""

    def __init__(self) -> None:
        self.resident = 100
        self.trimmed = asyncio.Event()

    def trim(self) -> None:
        """Note the call, which comes from another thread."""
        self._loop.call_soon_threadsafe(self.trimmed.set)

    def watched(self) -> Memory:
        """Begin to watch it."""
        self._loop = asyncio.get_running_loop()
        return Memory(lambda: self.resident, self.trim)


async def test_a_process_that_grew_gives_back_what_it_does_not_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "EVERY_S", 0.0)
    process = Process()
    watched = process.watched()
    process.resident = 101 + SPARE_BYTES
    watched.look()
    await asyncio.wait_for(process.trimmed.wait(), 30)


async def test_a_process_of_its_usual_size_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "EVERY_S", 0.0)
    process = Process()
    watched = process.watched()
    process.resident = 100 + SPARE_BYTES
    watched.look()
    await asyncio.get_running_loop().shutdown_default_executor()
    await asyncio.sleep(0)
    assert not process.trimmed.is_set()


def test_both_allocators_can_be_told_to_give_memory_back() -> None:
    memory.trimmer()()
    assert memory.resident_bytes() > 0


async def test_looks_become_rarer_while_they_give_nothing_back() -> None:
    now, resident, looked_at = 0.0, 100, []

    def look() -> int:
        looked_at.append(now)
        return resident

    watched = Memory(look, lambda: None, lambda: now)
    looked_at.clear()
    for now in range(60):  # the clock
        resident = 100 if now < 40 else 140 - now
        watched.look()
    gaps = [later - earlier for earlier, later in itertools.pairwise(looked_at)]

    assert gaps[:3] == [2 * EVERY_S, EVERY_MAX_S, EVERY_MAX_S]
    assert gaps[-3:] == [EVERY_S, EVERY_S, EVERY_S]
