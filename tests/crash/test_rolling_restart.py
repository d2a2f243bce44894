"""The server is stopped (SIGTERM) and started again, again and again, while clients work."""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from backlane import Client
from backlane.testing.server import ServerProcess
from tests.crash.checker import Findings, check
from tests.crash.ledger import Ledger
from tests.crash.producers import TENANT, AsyncProducer, ClientProducer
from tests.crash.workers import working
from tests.plain_client import PlainClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESTARTS = 8
SEED = 1
OPERATIONS_MAX = 2000
"""The most acknowledged operations between two restarts."""
PROGRESS_S = 60.0
"""A test fails after this many seconds without progress."""
LONG_GRACE = ("--drain-grace", "10m")
"""Longer than the test may take, so that a stop that waits for it fails."""


@contextmanager
def producing(target: str, ledger: Ledger) -> Iterator[None]:
    """Run the SDK's clients, with their defaults, during the block."""
    with Client(target, tenant=TENANT) as client:
        producers = (
            ClientProducer("threads", client, ledger, SEED),
            AsyncProducer("loop", target, ledger, SEED),
        )
        with ExitStack() as stack:
            for producer in producers:
                producer.start()
                stack.callback(producer.stop)
            yield


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_rolling_restart_costs_producers_no_error_and_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    chance = random.Random(SEED)  # noqa: S311  # no secret
    ledger = Ledger()
    log = tmp_path / "server.log"
    statuses = []
    with ServerProcess.start(tmp_path / "data", args=LONG_GRACE, log=log) as server:
        with working(server.target, ledger):
            with producing(server.target, ledger):
                for _ in range(RESTARTS):
                    ledger.wait_for_operations(chance.randint(1, OPERATIONS_MAX), PROGRESS_S)
                    statuses.append(server.stop())
                    server.restart()
                ledger.wait_for_operations(OPERATIONS_MAX, PROGRESS_S)
            ledger.wait_for_room(0, PROGRESS_S)
        with PlainClient(server.target, TENANT) as client:
            findings = check(client, ledger)

    assert Findings() == findings
    assert statuses == [0] * RESTARTS
