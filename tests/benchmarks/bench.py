"""Owns the run of a workload: its settings, servers to measure, and processor times."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from backlane.testing.server import ServerProcess
from tests.benchmarks.cpu import CpuUse, measured

Size = TypeVar("Size", int, float)

TENANT = "bench"
CALLABLE = "bench.noop"
INPUT_BYTES = 200
BATCH = 500


@dataclass
class Bench:
    """One run of one workload.

    Attributes:
        is_quick: whether to be done in a moment, for a smoke test.
        cpu: who used the processor, by stage.
    """

    is_quick: bool
    cpu: dict[str, CpuUse] = field(default_factory=dict)

    def pick(self, size: Size, quick: Size) -> Size:
        """Return the full size, or the size for a quick run."""
        return quick if self.is_quick else size

    @contextmanager
    def serve(self, *args: str, test_clock: bool = False) -> Iterator[ServerProcess]:
        """Run a server on a temporary data directory, on a real file system.

        Args:
            args: further arguments of `backlane serve`.
            test_clock: whether the server's clock can be moved.
        """
        with (
            tempfile.TemporaryDirectory(prefix="backlane-bench-") as folder,
            ServerProcess.start(
                Path(folder, "data"),
                args=args,
                log=Path(folder, "server.log"),
                test_clock=test_clock,
            ) as server,
        ):
            yield server

    @contextmanager
    def account(self, stage: str, server: ServerProcess, *load_pids: int) -> Iterator[None]:
        """Record the processor times during the block; see `measured`."""
        with measured(stage, server.process.pid, load_pids, self.cpu):
            yield
