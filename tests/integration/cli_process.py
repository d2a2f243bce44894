"""Commands in their own processes, and the results of commands."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from backlane import BackgroundExecution

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Ask = Callable[..., "Answer"]

PATIENCE_S: Final = 30
"""How long anything may take, in seconds."""


class Answer(NamedTuple):
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str

    @property
    def record(self) -> BackgroundExecution:
        """The one record that it printed as JSON."""
        return BackgroundExecution.from_json(self.out)


class Process:
    """A running command. Waits for lines last until the timeout of the test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Make it of a process whose stdout and stderr are pipes."""
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.out = process.stdout
        self.err = process.stderr

    def line(self) -> str:
        """The next line of stdout."""
        return self.out.readline().rstrip("\n")

    def told(self, part: str) -> str:
        """The next line of stderr that holds a text."""
        return next(line for line in self.err if part in line).rstrip("\n")

    def end(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def started(
    *arguments: str, folder: Path, process_group: int | None = None, **variables: str
) -> Iterator[Process]:
    """A command in its own process, which is killed at the end of the block if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "backlane", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
        process_group=process_group,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Process(process)
        finally:
            process.kill()
