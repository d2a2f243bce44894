"""Owns the pytest fixtures: a real server, and a client, workers and a clock of the test's own.

pytest finds it by itself wherever Backlane is installed, and so imports it in test runs that have
nothing to do with Backlane: what costs is imported by the fixtures.
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
"""How long a callable that nobody waited for may run on after the test, in seconds."""
_NAME_LENGTH: Final = 80


@pytest.fixture(scope="session")
def backlane_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A real server on a free port with temporary data, for all tests of the session.

    Each test has a tenant of its own there, see `backlane_tenant`.
    """
    with _start_server(tmp_path_factory) as server:
        yield server


@pytest.fixture
def _backlane_home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """The server of this test: the shared one, or where it moves the clock one of its own."""
    if "backlane_clock" not in request.fixturenames:
        yield request.getfixturevalue("backlane_server")
        return
    with _start_server(tmp_path_factory, test_clock=True) as server:
        yield server


@pytest.fixture
def backlane_tenant(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _backlane_home: ServerProcess
) -> str:
    """A tenant that is this test's alone.

    While the test runs, `$BACKLANE_TARGET` and `$BACKLANE_TENANT` name its server and its tenant,
    so that a `Client()`, an `AsyncClient()` or a `Worker` made meanwhile finds them too.
    """
    name = re.sub(r"[^A-Za-z0-9._:@/-]+", "-", request.node.name)[:_NAME_LENGTH]
    tenant = f"{name}-{secrets.token_hex(6)}"
    monkeypatch.setenv("BACKLANE_TARGET", _backlane_home.target)
    monkeypatch.setenv("BACKLANE_TENANT", tenant)
    return tenant


@pytest.fixture
def backlane_client(
    request: pytest.FixtureRequest, backlane_tenant: str, _backlane_home: ServerProcess
) -> Iterator[Client]:
    """A `backlane.Client` for this test's tenant. Its delays count by `backlane_clock`, if any."""
    from backlane import Client  # noqa: PLC0415  # it brings gRPC along
    from backlane.testing.client import ClockedClient  # noqa: PLC0415

    if "backlane_clock" in request.fixturenames:
        client: Client = ClockedClient(
            _backlane_home.clock, _backlane_home.target, tenant=backlane_tenant
        )
    else:
        client = Client(_backlane_home.target, tenant=backlane_tenant)
    with client:
        yield client


@pytest.fixture
def backlane_worker(
    request: pytest.FixtureRequest, backlane_tenant: str, _backlane_home: ServerProcess
) -> Iterator[StartWorker]:
    """Runs workers: `backlane_worker(worker)` works for this test's tenant until the test ends.

    TLS and headers that the worker has for its own server are left out.
    """
    from backlane.channel import Endpoint  # noqa: PLC0415  # it brings gRPC along
    from backlane.worker.worker import LEASE_MAX_S  # noqa: PLC0415  # as above

    shifts: list[Shift] = []
    ours: dict[str, object] = {
        "endpoint": Endpoint.of(_backlane_home.target, tls=False, metadata=None),
        "tenants": [backlane_tenant],
        "drain_timeout": _DRAIN_S,
    }
    if "backlane_clock" in request.fixturenames:
        # Whatever the clock is moved by, short of that, takes no lease away.
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
    backlane_tenant: str,  # noqa: ARG001  # names the server to the program, as it does elsewhere
    _backlane_home: ServerProcess,
) -> Clock:
    """A clock to move: the test's client and workers are on a server of its own, which it is of."""
    if "backlane_clock" not in request.fixturenames:
        pytest.fail("name backlane_clock among the arguments of the test: its server is made first")
    return _backlane_home.clock


def _start_server(
    folders: pytest.TempPathFactory, *, test_clock: bool = False
) -> AbstractContextManager[ServerProcess]:
    from backlane.testing.server import ServerProcess  # noqa: PLC0415  # as a fixture would

    folder = folders.mktemp("backlane")
    return ServerProcess.start(folder / "data", log=folder / "log", test_clock=test_clock)
