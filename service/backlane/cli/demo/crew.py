"""Owns the demo's worker processes, and the journals of the results that were accepted."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from backlane.children import start_child
from backlane.worker.journal import read_journal

if TYPE_CHECKING:
    from pathlib import Path

STOP_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process and its name."""

    worker_id: str
    process: subprocess.Popen[bytes]

    def freeze(self) -> None:
        """Halt the worker (SIGSTOP), so that its leases can be counted before it is killed."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the worker continue (SIGCONT)."""
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill the worker (SIGKILL) and reap it."""
        self.process.kill()
        self.process.wait()


class Crew:
    """The workers of one server. As a context manager it leaves no process behind."""

    def __init__(
        self, target: str, tenant_id: str, folder: Path, program: str = "backlane.cli.demo.worker"
    ) -> None:
        """Begin without workers; a program is a module, which leaves its files in the folder."""
        self._program = program
        self._target = target
        self._tenant_id = tenant_id
        self._folder = folder
        self._hired = 0
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill all workers."""
        # All are killed before any is waited for, since a second Ctrl-C may interrupt the wait.
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.wait()

    def hire(self) -> Worker:
        """Start one more worker."""
        self._hired += 1
        worker_id = f"demo-worker-{self._hired}"
        with (self._folder / f"{worker_id}.log").open("wb") as log:
            process = start_child(
                self._program,
                self._arguments(worker_id),
                stdin=subprocess.DEVNULL,
                stderr=log,
                # Ctrl-C reaches the demo only, which then ends its workers.
                process_group=0,
            )
        worker = Worker(worker_id, process)
        self.workers.append(worker)
        return worker

    def dismiss_all(self) -> bool:
        """Drain every worker, wait, and tell whether all exited with 0."""
        for worker in self.workers:
            worker.process.terminate()
        ends = [worker.process.wait(STOP_TIMEOUT_S) for worker in self.workers]
        self.workers.clear()
        return not any(ends)

    def replace(self, worker: Worker) -> Worker:
        """Kill one worker and start another in its place."""
        worker.kill()
        self.workers.remove(worker)
        return self.hire()

    def accepted_completions(self) -> list[tuple[str, str]]:
        """Read the execution and the lease token of each accepted completion from the journals."""
        return [
            (item.execution_id, item.lease_token)
            for path in self._folder.glob("*.journal")
            for item in read_journal(path)
            if item.kind == "complete"
        ]

    def _arguments(self, worker_id: str) -> list[str]:
        return [self._target, self._tenant_id, worker_id, str(self._folder)]
