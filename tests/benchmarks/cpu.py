"""Owns the question who used the processor: each thread of a server, and the load's processes."""

import os
import resource
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class CpuUse:
    """Processor time of one stage of a workload. All times are in seconds.

    Attributes:
        stage: what was going on.
        wall_s: how long it took.
        load_s: what the load generators used, this process and those that ended meanwhile.
        server_s: what the server used, by thread name.
    """

    stage: str
    wall_s: float = 0.0
    load_s: float = 0.0
    server_s: dict[str, float] = field(default_factory=dict)

    def describe(self) -> str:
        """Say it in one line, in processors kept busy."""
        threads = sorted(self.server_s.items(), key=lambda item: -item[1])
        busy = ", ".join(f"{name} {used / self.wall_s:.2f}" for name, used in threads if used)
        server = sum(self.server_s.values()) / self.wall_s
        load = self.load_s / self.wall_s
        return f"{self.stage}: server {server:.2f} of a processor ({busy}); load {load:.2f}"


@contextmanager
def measured(stage: str, pid: int, into: list[CpuUse]) -> Iterator[None]:
    """Measure who uses the processor while the block runs.

    Args:
        stage: what is going on.
        pid: the server's process.
        into: where the result is added.
    """
    threads, load_s, began = thread_times(pid), load_time(), time.monotonic()
    yield
    use = CpuUse(stage, time.monotonic() - began, load_time() - load_s)
    use.server_s = dict(thread_times(pid) - threads)
    into.append(use)


def load_time() -> float:
    """Return the seconds of processor time of this process and its ended children."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def thread_times(pid: int) -> Counter[str]:
    """Return the seconds of processor time of a process's threads, added up by their names."""
    times: Counter[str] = Counter()
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except FileNotFoundError:
            continue  # It ended between the listing and the reading.
        # The name stands in parentheses and may hold spaces; user and system time are the 12th
        # and 13th field after it, in ticks.
        name, _, rest = text.partition(" (")[2].rpartition(") ")
        fields = rest.split()
        # Counter adds floats as well, whatever its type says.
        times[name] += (int(fields[11]) + int(fields[12])) / TICKS_PER_S  # type: ignore[assignment]
    return times
