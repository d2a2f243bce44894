"""Owns a `backlane serve` subprocess: starts it, knows its address, and ends it."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, cast

from backlane.children import start_child
from backlane.testing.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

READY_LINE = re.compile(r"^backlane (?P<version>\S+) is serving on (?P<target>\S+), data in ")
"""The one line `backlane serve` prints to stdout, once it answers calls."""


class ServerStartError(Exception):
    """The server exited before it was ready, or was not ready in time.

    Attributes:
        status: the exit status; None if the server was not ready in time.
        stderr: everything that the server wrote to stderr.
    """

    def __init__(self, status: int | None, stderr: str) -> None:
        """Make an error of the exit status and stderr."""
        super().__init__(status, stderr)
        self.status = status
        self.stderr = stderr

    def __str__(self) -> str:
        """Return how it ended, and what it wrote."""
        code = self.status
        ended = "was not ready in time" if code is None else f"exited with status {code}"
        return f"backlane serve {ended}: {self.stderr.strip()}"


class ServerProcess:
    """A running server. The context manager stops it, or kills it if it does not stop.

    A server that is not stopped stops by itself when this process ends, even if it is killed.
    A `restart` keeps the data directory, the log, and the time of a test clock.

    Attributes:
        target: the server's address with its real port, `host:port`.
        process: the subprocess.
        data: the data directory; None if all data is in memory.
        log: the file with the server's stderr.
    """

    def __init__(
        self,
        data: Path | None,
        listen: str,
        args: Sequence[str],
        log: Path | None,
        timeout_s: float,
        *,
        test_clock: bool = False,
    ) -> None:
        """Start the process; use `start` instead."""
        self.data = data
        self.log = log if log is not None else _temporary_log()
        self._owns_log = log is None
        self._args = tuple(args)
        self._timeout_s = timeout_s
        self._clock = Clock(self._ask) if test_clock else None
        self._spawn(listen)

    @classmethod
    def start(
        cls,
        data: Path | None = None,
        *,
        listen: str = "127.0.0.1:0",
        args: Sequence[str] = (),
        log: Path | None = None,
        timeout_s: float = 60.0,
        test_clock: bool = False,
    ) -> Self:
        """Start a server and wait until it is ready.

        Args:
            data: the data directory; None keeps all data in memory.
            listen: the address to listen on; with port 0 the system chooses a port.
            args: further arguments of `backlane serve`.
            log: the file to which stderr is appended; a temporary file by default.
            timeout_s: how long the start may take, including recovery, in seconds.
            test_clock: whether the server has a clock that `clock` can move.

        Raises:
            ServerStartError: the server exited, or was not ready in time.
        """
        return cls(data, listen, args, log, timeout_s, test_clock=test_clock)

    @property
    def clock(self) -> Clock:
        """The server's clock.

        Raises:
            RuntimeError: the server was started without `test_clock=True`.
        """
        if self._clock is None:
            raise RuntimeError(
                "this server runs on the machine's clock: start it with test_clock=True"
            )
        return self._clock

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server, and kill it if it does not stop."""
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self.kill()
            if self._owns_log:
                self.log.unlink(missing_ok=True)

    def terminate(self) -> None:
        """Tell the server to drain and stop (SIGTERM), without waiting."""
        self.process.terminate()

    def wait(self, timeout_s: float | None = 30.0) -> int:
        """Wait for the server's end and return the exit status.

        Raises:
            subprocess.TimeoutExpired: the server still runs after that many seconds.
        """
        return self.process.wait(timeout_s)

    def stop(self, timeout_s: float | None = 30.0) -> int:
        """Tell the server to drain and stop, wait, and return the exit status.

        Raises:
            subprocess.TimeoutExpired: the server still runs after that many seconds.
        """
        self.terminate()
        return self.wait(timeout_s)

    def kill(self) -> None:
        """Kill the server (SIGKILL), as in a crash, and reap it."""
        self.process.kill()
        self.process.wait()
        self._stdout.close()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def restart(self) -> None:
        """Kill the server if it still runs, and start it with the same data and port.

        Raises:
            ServerStartError: the server exited, or was not ready in time.
        """
        self.kill()
        self._spawn(self.target)

    def read_log(self) -> str:
        """Return everything written to stderr, including earlier runs."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _spawn(self, listen: str) -> None:
        store = ["--memory"] if self.data is None else ["--data", str(self.data)]
        arguments = ["serve", "--listen", listen, *store]
        if self._clock is not None:
            # At least as far ahead as before: a restarted server does not go back in time.
            arguments += ["--test-clock", f"{self._clock.ahead // timedelta(milliseconds=1)}ms"]
        written_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as stderr:
            process = start_child(
                "backlane",
                [*arguments, *self._args],
                bufsize=0,
                stdin=subprocess.DEVNULL if self._clock is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                # Ctrl-C at the terminal reaches this process only, which then ends the server. If
                # this process is killed, the server is told to stop too.
                process_group=0,
            )
        self.process = process
        self._stdout = cast("IO[bytes]", process.stdout)
        try:
            self.target = self._read_target(written_before)
        except BaseException:
            self.kill()
            raise

    def _ask(self, command: str) -> str:
        """Send a line to stdin and return the answer; empty if there is none."""
        stdin = cast("IO[bytes]", self.process.stdin)
        try:
            stdin.write(f"{command}\n".encode())
            answer = _read_line(self._stdout, time.monotonic() + self._timeout_s)
        except (OSError, ValueError):  # the server has ended, or its pipes are closed
            return ""
        return answer.decode(errors="replace").rstrip("\n")

    def _read_target(self, written_before: int) -> str:
        deadline = time.monotonic() + self._timeout_s
        line = _read_line(self._stdout, deadline).decode(errors="replace")
        ready = READY_LINE.match(line)
        if ready is not None:
            return ready["target"]
        # No line: the server closed its stdout and is exiting, or the time is up.
        late = time.monotonic() >= deadline
        status = self.process.poll() if late else self.process.wait(10)
        stderr = self.log.read_bytes()[written_before:].decode(errors="replace")
        raise ServerStartError(status, line + stderr)


def _temporary_log() -> Path:
    handle, name = tempfile.mkstemp(prefix="backlane-serve-", suffix=".log")
    os.close(handle)
    return Path(name)


def _read_line(stream: IO[bytes], deadline: float) -> bytes:
    """Read until a newline, the end or the deadline, without a thread or a buffer."""
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                break
            piece = os.read(stream.fileno(), 4096)
            if not piece:
                break
            line += piece
    return line
