"""Owns a run of the program under test: starts it, signals it, and keeps the end of its stderr."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from backlane.children import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STDERR_LINES: Final = 15
LINE_MAX: Final = 300


class CannotStartError(Exception):
    """The command cannot be run; the message says why."""


class Program:
    """A running program. `close`, and the end of this process, kill it and its child processes."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        on_end: Callable[[], object],
    ) -> None:
        """Start the program.

        Args:
            command: the program and its arguments.
            environment: variables in addition to those of this process.
            on_end: called when the program has ended.

        Raises:
            CannotStartError: the program does not exist or cannot be executed.
        """
        self._guard = Guard()
        try:
            self._process = subprocess.Popen(
                command,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # In its own process group, so that children of a wrapper script are killed too.
                start_new_session=True,
            )
        except OSError as error:
            self._guard.dismiss()
            raise CannotStartError(f"cannot run {command[0]}: {error.strerror}") from None
        self._guard.watch(self._process.pid)
        self._tail: deque[str] = deque(maxlen=STDERR_LINES)
        self._ended = threading.Event()
        self._on_end = on_end
        self._reader = threading.Thread(target=self._read, name="program-stderr", daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, name="program-end", daemon=True).start()

    def close(self) -> None:
        """Kill the program and its child processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._ended.wait()
        self._guard.dismiss()
        self._reader.join(1)

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the program runs."""
        return self._process.returncode if self._ended.is_set() else None

    def drain(self) -> None:
        """Send SIGTERM to the program itself."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end, and return the exit status; None if the program still runs."""
        self._ended.wait(timeout_s)
        return self.status

    def stderr(self) -> list[str]:
        """Return the last lines of stderr."""
        return list(self._tail)

    def _read(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  # it is a pipe
        with self._process.stderr as stderr:
            for line in stderr:
                self._tail.append(line.decode(errors="replace").rstrip()[:LINE_MAX])

    def _watch(self) -> None:
        self._process.wait()
        self._ended.set()
        self._on_end()
