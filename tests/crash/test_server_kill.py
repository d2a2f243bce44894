"""The server is killed (SIGKILL) again and again while clients enqueue and complete."""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from backlane import Client
from backlane.testing.server import ServerProcess, ServerStartError
from tests.crash.checker import Findings, check
from tests.crash.ledger import Ledger
from tests.crash.producers import (
    TENANT,
    BatchProducer,
    ClientProducer,
    Producer,
    StreamProducer,
    UnaryProducer,
)
from tests.crash.workers import working
from tests.plain_client import PlainClient

CYCLES = int(os.environ.get("BACKLANE_CRASH_CYCLES", "50"))
SEED = int(os.environ.get("BACKLANE_CRASH_SEED", "1"))
OPERATIONS_MAX = 2000
"""The most acknowledged operations between two kills."""
PROGRESS_S = 60.0
"""A test fails after this many seconds without progress."""
RECOVERY_KILL_S = (0.05, 0.8)
"""After how many seconds a starting server is killed."""


@contextmanager
def producing(target: str, ledger: Ledger) -> Iterator[None]:
    """Run a producer of each kind during the block. After it all enqueues are acknowledged."""
    with ExitStack() as stack:
        producers: list[Producer] = []
        for kind in (UnaryProducer, BatchProducer, StreamProducer):
            client = stack.enter_context(PlainClient(target, TENANT))
            name = kind.__name__.removesuffix("Producer").lower()
            producers.append(kind(name, client, ledger, SEED))
        sdk = stack.enter_context(Client(target, tenant=TENANT, call_timeout=PROGRESS_S))
        producers.append(ClientProducer("sdk", sdk, ledger, SEED))
        for producer in producers:
            producer.start()
            stack.callback(producer.stop)
        yield


def kill_while_it_recovers(server: ServerProcess, after_s: float) -> None:
    """Start the server once more, and kill it when that many seconds have passed."""
    server.kill()
    # Where it is not ready in time, `start` kills it.
    with suppress(ServerStartError):
        ServerProcess.start(
            server.data, listen=server.target, log=server.log, timeout_s=after_s
        ).kill()


@pytest.mark.slow
@pytest.mark.timeout(120 + 6 * CYCLES)
def test_nothing_acknowledged_is_lost_or_accepted_twice_when_the_server_is_killed(
    tmp_path: Path,
) -> None:
    chance = random.Random(SEED)  # noqa: S311  # no secret
    ledger = Ledger()
    with ServerProcess.start(tmp_path / "data", log=tmp_path / "server.log") as server:
        with working(server.target, ledger):
            with producing(server.target, ledger):
                for _ in range(CYCLES):
                    ledger.wait_for_operations(chance.randint(1, OPERATIONS_MAX), PROGRESS_S)
                    if chance.random() < 0.2:
                        kill_while_it_recovers(server, chance.uniform(*RECOVERY_KILL_S))
                    server.restart()
            ledger.wait_for_room(0, PROGRESS_S)
        with PlainClient(server.target, TENANT) as client:
            findings = check(client, ledger)

    assert Findings() == findings
