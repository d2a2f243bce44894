"""Fixtures: a producer with its own tenant, a worker for that tenant, and the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from backlane import Worker
from backlane.cli.main import run
from tests.conformance.door import Door, new_tenant
from tests.integration.cli_process import Answer
from tests.integration.ends import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import ServerProcess
    from tests.integration.cli_process import Ask


@pytest.fixture
def producer(server: ServerProcess) -> Iterator[Door]:
    """A producer with a tenant of its own."""
    with grpc.insecure_channel(server.target) as channel:
        yield Door(channel, new_tenant())


@pytest.fixture
def worker(server: ServerProcess, producer: Door) -> Worker:
    """A worker for that tenant, without callables."""
    return Worker(target=server.target, tenants=producer.tenant, drain_timeout=PATIENCE_S)


@pytest.fixture
def tenant() -> str:
    """A tenant that nobody else uses."""
    return new_tenant()


@pytest.fixture
def ask(
    server: ServerProcess,
    tenant: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Ask:
    """Runs a command in this process, for a tenant of the test's own."""
    monkeypatch.setenv("BACKLANE_TARGET", server.target)
    monkeypatch.setenv("BACKLANE_TENANT", tenant)

    def ask(*arguments: str) -> Answer:
        status = run(arguments)
        return Answer(status, *capsys.readouterr())

    return ask
