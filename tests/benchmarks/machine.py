"""Owns the facts that explain the figures: the commit, the machine, its disk, the build."""

import os
import statistics
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from backlane import _core

CHECKOUT = Path(__file__).resolve().parents[2]
SYNC_ROUNDS = 300
SYNC_BYTES = 4096
RELEASE = "release"


def describe_machine() -> dict[str, str]:
    """Return these facts by name."""
    return {
        "commit": _commit(),
        "core build": build_profile(),
        "backlane": version("backlane"),
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
        "processors": f"{len(os.sched_getaffinity(0))} of {_cpu_model()}",
        "clients": "on the same machine as the server",
        "fdatasync": f"{1000 * sync_latency_s():.3f} ms, median of {SYNC_ROUNDS} writes of 4 KiB",
        "store": "SQLite, write-ahead log, synchronous=FULL: a reply is sent after its fdatasync",
    }


def build_profile() -> str:
    """Return how the core was compiled: `release` or `debug`."""
    return _core.build_profile()


def sync_latency_s() -> float:
    """Measure the median seconds of a small write with fdatasync on the disk of the data."""
    block = os.urandom(SYNC_BYTES)
    with tempfile.TemporaryFile() as file:
        times = [_sync_once(file.fileno(), block, number) for number in range(SYNC_ROUNDS)]
    return statistics.median(times)


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def _sync_once(file: int, block: bytes, number: int) -> float:
    began = time.perf_counter()
    os.pwrite(file, block, number * len(block))
    os.fdatasync(file)
    return time.perf_counter() - began


def _commit() -> str:
    def git(*words: str) -> str:
        run = subprocess.run(
            ["git", *words], cwd=CHECKOUT, check=False, capture_output=True, text=True
        )
        return run.stdout.strip()

    commit = git("rev-parse", "--short=12", "--verify", "HEAD") or "none yet"
    return f"{commit} with uncommitted changes" if git("status", "--porcelain") else commit


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
