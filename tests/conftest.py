"""Fixtures for tests with a real server, either shared or for one test only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import grpc
import pytest

from backlane.testing import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
