"""Commands in processes of their own, and what commands end with."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from backlane import BackgroundExecution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Ask = Callable[..., "Answer"]

PATIENCE_S: Final = 30
"""How long anything may take, in seconds."""


class Answer(NamedTuple):
    """What a command ended with."""

    status: int
    out: str
    err: str

    @property
    def record(self) -> BackgroundExecution:
        """The one record that it printed as JSON."""
        return BackgroundExecution.from_json(self.out)


@contextmanager
def started(*arguments: str, folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, whose stderr goes to a file."""
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "backlane", *arguments],
            cwd=folder,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with process:
        yield process
        process.kill()
