"""Owns the processor times of a server's threads and of the processes that load it."""

import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
DISTURBED_SHARE = 0.2
"""The share of a processor that other programs may use before a figure is doubtful."""


@dataclass
class CpuUse:
    """Processor time of one stage of a workload, over all rounds. All times are in seconds.

    Attributes:
        stage: what was going on.
        wall_s: how long it took.
        load_s: what the load generators and the bare echo used.
        other_s: what all else on the machine used.
        server_s: what the server used, by thread name.
    """

    stage: str
    wall_s: float = 0.0
    load_s: float = 0.0
    other_s: float = 0.0
    server_s: dict[str, float] = field(default_factory=dict)

    def add(self, other: "CpuUse") -> None:
        """Add another round of the same stage."""
        self.wall_s += other.wall_s
        self.load_s += other.load_s
        self.other_s += other.other_s
        for name, used in other.server_s.items():
            self.server_s[name] = self.server_s.get(name, 0.0) + used

    def describe(self) -> str:
        """Return the times in one line, as numbers of busy processors."""
        threads = sorted(self.server_s.items(), key=lambda item: -item[1])
        busy = ", ".join(f"{name} {used / self.wall_s:.2f}" for name, used in threads if used)
        server = sum(self.server_s.values()) / self.wall_s
        load, other = self.load_s / self.wall_s, self.other_s / self.wall_s
        return (
            f"{self.stage}: server {server:.2f} of a processor ({busy}); "
            f"load {load:.2f}; all else {other:.2f}"
        )

    @property
    def is_disturbed(self) -> bool:
        """Whether other programs used so much of the processor that the figures are doubtful."""
        return self.other_s > DISTURBED_SHARE * self.wall_s


@contextmanager
def measured(
    stage: str, pid: int, load_pids: Sequence[int], into: dict[str, CpuUse]
) -> Iterator[None]:
    """Measure the processor times during the block.

    Args:
        stage: what is going on.
        pid: the server's process.
        load_pids: processes of the load that run all the while; this one and those that end
            meanwhile count by themselves.
        into: the stages, to which the result is added.
    """
    threads, load_s, busy_s, began = (
        thread_times(pid), load_time(load_pids), busy_time(), time.monotonic(),
    )  # fmt: skip
    yield
    use = CpuUse(stage, time.monotonic() - began, load_time(load_pids) - load_s)
    # A thread that has no time before began meanwhile.
    after = thread_times(pid)
    use.server_s = {name: used - threads.get(name, 0.0) for name, used in after.items()}
    own_s = use.load_s + sum(use.server_s.values())
    use.other_s = max(0.0, busy_time() - busy_s - own_s)
    into.setdefault(stage, CpuUse(stage)).add(use)


def load_time(pids: Sequence[int]) -> float:
    """Return the seconds of processor time of this process, its ended children, and others."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    others = sum(sum(thread_times(pid).values()) for pid in pids)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime + others


def busy_time() -> float:
    """Return the seconds of processor time of everything on the machine."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    # The first is "cpu"; idle and waiting for the disk are the 4th and 5th number.
    ticks = [int(number) for number in fields[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_S


def thread_times(pid: int) -> dict[str, float]:
    """Return the seconds of processor time of a process's threads, added up by their names."""
    times: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except FileNotFoundError:
            continue  # It ended between the listing and the reading.
        # The name stands in parentheses and may hold spaces; user and system time are the 12th
        # and 13th field after it, in ticks.
        name, _, rest = text.partition(" (")[2].rpartition(") ")
        fields = rest.split()
        used = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
        times[name] = times.get(name, 0.0) + used
    return times
