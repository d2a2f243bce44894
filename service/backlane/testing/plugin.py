"""Owns the pytest fixtures: a real server, and a client, workers and a clock for each test.

pytest imports this plug-in wherever Backlane is installed, even in test runs without Backlane.
Therefore only the fixtures import modules that are slow to import.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from backlane import Client, Worker
    from backlane.testing.clock import Clock
    from backlane.testing.server import ServerProcess
    from backlane.testing.start_worker import StartWorker
    from backlane.worker import Shift

_DRAIN_S: Final = 2.0
"""How long callables may still run after the test, in seconds."""
_NAME_LENGTH: Final = 80


@pytest.fixture(scope="session")
def backlane_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A real server on a free port with temporary data, for all tests of the session.

    Each test uses its own tenant, see `backlane_tenant`.
    """
    with _start_server(tmp_path_factory) as server:
        yield server


@pytest.fixture
def _backlane_home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """The server of this test: the shared one, or a new one if the test moves the clock."""
    if "backlane_clock" not in request.fixturenames:
        yield request.getfixturevalue("backlane_server")
        return
    with _start_server(tmp_path_factory, test_clock=True) as server:
        yield server


@pytest.fixture
def backlane_tenant(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _backlane_home: ServerProcess
) -> str:
    """A tenant that no other test uses.

    During the test `$BACKLANE_TARGET` and `$BACKLANE_TENANT` are set to its server and its tenant,
    for each `Client()`, `AsyncClient()` and `Worker` that is made in that time.
    """
    name = re.sub(r"[^A-Za-z0-9._:@/-]+", "-", request.node.name)[:_NAME_LENGTH]
    tenant = f"{name}-{secrets.token_hex(6)}"
    monkeypatch.setenv("BACKLANE_TARGET", _backlane_home.target)
    monkeypatch.setenv("BACKLANE_TENANT", tenant)
    return tenant


@pytest.fixture
def backlane_client(backlane_tenant: str, _backlane_home: ServerProcess) -> Iterator[Client]:
    """A `backlane.Client` for this test's tenant. Its delays follow `backlane_clock`, if used."""
    from backlane import Client  # noqa: PLC0415  # it imports gRPC

    with Client(_backlane_home.target, tenant=backlane_tenant) as client:
        yield client


@pytest.fixture
def backlane_worker(
    request: pytest.FixtureRequest, backlane_tenant: str, _backlane_home: ServerProcess
) -> Iterator[StartWorker]:
    """Runs workers: `backlane_worker(worker)` runs for this test's tenant until the test ends.

    The worker's own TLS settings and headers are not used.
    """
    from backlane.channel import Endpoint  # noqa: PLC0415  # it imports gRPC
    from backlane.worker.worker import LEASE_MAX_S  # noqa: PLC0415  # as above

    shifts: list[Shift] = []
    ours: dict[str, object] = {
        "endpoint": Endpoint.of(_backlane_home.target, tls=False, metadata=None),
        "tenants": [backlane_tenant],
        "drain_timeout": _DRAIN_S,
    }
    if "backlane_clock" in request.fixturenames:
        # Leases survive every move of the clock that is shorter than this.
        ours["lease"] = LEASE_MAX_S

    def start(worker: Worker, /, **overrides: object) -> Shift:
        shift = worker.start(**{**ours, **overrides})
        shifts.append(shift)
        return shift

    yield start
    for shift in shifts:
        shift.drain()
    for shift in shifts:
        shift.wait()


@pytest.fixture
def backlane_clock(
    request: pytest.FixtureRequest,
    backlane_tenant: str,  # noqa: ARG001  # sets the variables for the program
    _backlane_home: ServerProcess,
) -> Clock:
    """A clock that the test can move, of a server that only this test uses."""
    if "backlane_clock" not in request.fixturenames:
        pytest.fail(
            "add backlane_clock to the arguments of the test: its server has to be started first"
        )
    return _backlane_home.clock


def _start_server(
    folders: pytest.TempPathFactory, *, test_clock: bool = False
) -> AbstractContextManager[ServerProcess]:
    from backlane.testing.server import ServerProcess  # noqa: PLC0415  # imported by fixtures only

    folder = folders.mktemp("backlane")
    return ServerProcess.start(folder / "data", log=folder / "log", test_clock=test_clock)
