"""Fixtures for tests with a real server, and the choice of tests that this machine can run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import grpc
import pytest

from backlane.testing import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

CAN_MOUNT: Final = 1 << 21
"""The bit of the capability that mounting needs (CAP_SYS_ADMIN)."""

LEFT_OUT = pytest.StashKey[int]()


def can_mount() -> bool:
    """Whether this process can make and mount a file system in a file."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    is_allowed = int(status["CapEff"], 16) & CAN_MOUNT != 0
    return is_allowed and Path("/dev/loop-control").exists() and bool(shutil.which("mkfs.ext4"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs root if this process cannot mount."""
    needing = [item for item in items if item.get_closest_marker("needs_root")]
    if needing and not can_mount():
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]
        config.stash[LEFT_OUT] = len(needing)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say in one line what was left out, and how to run it."""
    count = config.stash.get(LEFT_OUT, 0)
    if count:
        terminalreporter.write_line(
            f"left out: {count} tests that mount a small disk; run them as root, with mkfs.ext4 "
            "installed: pytest -m needs_root"
        )


class StartServer(Protocol):
    """Starts a server that ends with the test."""

    def __call__(
        self, data: Path | None = None, *, listen: str = "127.0.0.1:0", args: tuple[str, ...] = ()
    ) -> ServerProcess:
        """Start it as `ServerProcess.start` does."""


@pytest.fixture(scope="session")
def server(backlane_server: ServerProcess) -> ServerProcess:
    """A shared server for tests that do not change it; each uses its own tenant."""
    return backlane_server


@pytest.fixture
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    """A channel to the shared server."""
    with grpc.insecure_channel(server.target) as opened:
        yield opened


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers for this test only."""
    started: list[ServerProcess] = []

    def start(
        data: Path | None = None, *, listen: str = "127.0.0.1:0", args: tuple[str, ...] = ()
    ) -> ServerProcess:
        log = tmp_path / f"log-{len(started)}"
        started.append(ServerProcess.start(data, listen=listen, args=args, log=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
