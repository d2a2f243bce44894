"""Servers and workers end when the program that started them is killed."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.integration.cli_process import PATIENCE_S, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backlane.testing import ServerProcess

STARTS = """
import os, sys
from pathlib import Path
from backlane.cli.demo.crew import Crew
from backlane.testing import ServerProcess

server = ServerProcess.start(test_clock=len(sys.argv) > 2)
worker = Crew(server.target, "demo", Path(sys.argv[1])).hire()
if os.fork() == 0:
    # A fork that lives on must not keep them alive.
    os.read(0, 1)
    os._exit(0)
print(server.process.pid, worker.process.pid, flush=True)
os.read(0, 1)
"""
PLUGGED = """
import os

def test_that_hangs(backlane_server):
    os.write(1, f"pid {backlane_server.process.pid}\\n".encode())
    os.read(0, 1)
"""
APP = """
import os
import backlane

worker = backlane.Worker()

@worker.callable
def idle() -> None: ...

print("pid", os.getpid(), flush=True)
"""


class Watched:
    """A process of somebody else; its end is an event."""

    def __init__(self, pid: int) -> None:
        self.handle = os.pidfd_open(pid)

    def has_ended(self) -> bool:
        """Wait for the end, and return whether it came."""
        poll = select.poll()
        poll.register(self.handle, select.POLLIN)
        ended = bool(poll.poll(PATIENCE_S * 1000))
        os.close(self.handle)
        return ended


@contextmanager
def running(*command: str | Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python program that ends with the block; its stdin stays open until then."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("clock", [[], ["clock"]])
def test_a_server_and_a_worker_of_the_demo_end_with_a_program_that_is_killed(
    tmp_path: Path, clock: list[str]
) -> None:
    with running("-c", STARTS, tmp_path, *clock, folder=tmp_path) as program:
        assert program.stdout is not None
        server, worker = map(Watched, map(int, program.stdout.readline().split()))
        program.kill()

        assert (server.has_ended(), worker.has_ended()) == (True, True)


def test_a_server_of_the_pytest_fixtures_ends_with_a_test_run_that_is_killed(
    tmp_path: Path,
) -> None:
    (tmp_path / "test_it.py").write_text(PLUGGED)
    with running("-m", "pytest", "-s", "-p", "no:cacheprovider", folder=tmp_path) as program:
        assert program.stdout is not None
        line = next(line for line in program.stdout if "pid " in line)
        server = Watched(int(line.rpartition("pid ")[2]))
        program.kill()

        assert server.has_ended()


def test_a_worker_that_is_reloaded_ends_with_its_killed_parent(
    server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    arguments = ["worker", "app:worker", "--reload", "--target", server.target]
    with started(*arguments, folder=tmp_path) as parent:
        worker = Watched(int(parent.line().removeprefix("pid ")))
        assert parent.line().startswith("backlane worker app:worker starts")
        parent.process.kill()

        assert worker.has_ended()


def test_a_program_that_is_checked_ends_with_a_check_that_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    write = "open(sys.argv[1], 'w').write(str(os.getpid()))"
    script = f"import os, signal, sys; {write}; signal.pause()"
    arguments = ["conformance", "worker", "--", sys.executable, "-c", script, str(told)]
    with started(*arguments, folder=tmp_path) as check:
        program = Watched(int(told.read_text()))
        check.process.kill()

        assert program.has_ended()
