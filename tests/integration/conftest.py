"""Fixtures: a producer with a tenant of its own, and a worker of that tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from backlane import Worker
from tests.conformance.door import Door, new_tenant
from tests.integration.ends import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import ServerProcess


@pytest.fixture
def producer(server: ServerProcess) -> Iterator[Door]:
    """A producer with a tenant of its own."""
    with grpc.insecure_channel(server.target) as channel:
        yield Door(channel, new_tenant())


@pytest.fixture
def worker(server: ServerProcess, producer: Door) -> Worker:
    """A worker of that tenant, which offers nothing yet."""
    return Worker(target=server.target, tenants=producer.tenant, drain_timeout=PATIENCE_S)
