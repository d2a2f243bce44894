"""Owns giving memory that is no longer used back to the operating system.

grpc and SQLite take their memory from glibc, and glibc keeps what is freed for the next time: after
a burst of calls the process would stay as large as the burst made it. The core has an allocator of
its own, which gives memory back by itself, but only while it is used: an idle server would stay as
large as its last work made it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backlane._core import release_memory

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S: Final = 2.0
"""The time between two looks, in seconds, as long as they give memory back."""
EVERY_MAX_S: Final = 8.0
"""The longest time between two looks. A server that really uses its memory would otherwise search
it for nothing all the time."""
SPARE_BYTES: Final = 32 * 1024 * 1024
"""A process that is larger by this than it once was may hold memory that it does not use."""
_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def trimmer() -> Callable[[], object]:
    """Return what makes both allocators give memory back."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # Of glibc alone.

    def give_back() -> None:
        release_memory()
        if trim is not None:
            trim(0)

    return give_back


class Memory:
    """The memory of the process, as far as allocators hold it."""

    def __init__(
        self,
        resident: Callable[[], int],
        trim: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at a process; `trim` gives memory back, and `clock` gives monotonic seconds."""
        self._resident = resident
        self._trim = trim
        self._least = resident()
        self._last = self._least
        self._every_s = EVERY_S
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._next_s = clock() + EVERY_S

    def look(self) -> None:
        """Give memory back if it is time and there may be some. That happens on another thread."""
        if self._clock() < self._next_s:
            return
        resident = self._resident()
        is_smaller, self._last = resident < self._last, resident
        self._every_s = EVERY_S if is_smaller else min(2 * self._every_s, EVERY_MAX_S)
        self._next_s = self._clock() + self._every_s
        self._least = min(self._least, resident)
        if resident - self._least > SPARE_BYTES:
            self._loop.run_in_executor(None, self._trim)
