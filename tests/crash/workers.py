"""Owns the workers: two plain ones and one of the SDK, which return checksums of inputs."""

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from backlane import Context, Worker
from backlane.v1.worker_service_pb2 import Lease
from tests.crash.ledger import Ledger
from tests.crash.producers import CALLABLE, TENANT
from tests.plain_worker import Options, PlainWorker

LEASE_MS = 3000
"""How long leases last. Those on their way to a worker in a crash are lost for this time."""
DRAIN_S = 30.0
WORKERS = (
    Options(worker_id="pool", tenant_ids=[TENANT], threads=2, room=64, lease_duration_ms=LEASE_MS),
    Options(
        worker_id="inline", tenant_ids=[TENANT], threads=0, room=200, lease_duration_ms=LEASE_MS
    ),
)


class FirstAttemptError(Exception):
    """Fails some first attempts, so that some executions are retrying when the server dies."""


def checksum(text: str) -> dict[str, float]:
    """Return the output that belongs to an input."""
    return {"crc": float(zlib.crc32(text.encode()))}


def handle(lease: Lease) -> dict[str, float]:
    """Return the checksum of the input; a twentieth of all first attempts fail.

    Raises:
        FirstAttemptError: this is one of them.
    """
    output = checksum(lease.execution.input)
    if lease.attempt == 1 and output["crc"] % 20 == 0:
        raise FirstAttemptError
    return output


def sdk_worker(target: str, ledger: Ledger) -> Worker:
    """Return a worker of the SDK that does the same."""
    worker = Worker(
        "sdk",
        target=target,
        tenants=TENANT,
        lease=LEASE_MS / 1000,
        drain_timeout=DRAIN_S,
        observe=ledger.observe,
    )

    @worker.callable(name=CALLABLE)
    async def answer(ctx: Context, text: str) -> dict[str, float]:
        output = checksum(text)
        if ctx.attempt == 1 and output["crc"] % 20 == 0:
            raise FirstAttemptError
        return output

    return worker


@contextmanager
def working(target: str, ledger: Ledger) -> Iterator[None]:
    """Run the workers while the block runs, and drain them after it."""
    workers = [
        PlainWorker(target, {CALLABLE: handle}, options, ledger.observe) for options in WORKERS
    ]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        with sdk_worker(target, ledger).running():
            yield
    finally:
        for worker in workers:
            worker.drain()
        for thread in threads:
            thread.join(DRAIN_S)
    assert not any(thread.is_alive() for thread in threads)
