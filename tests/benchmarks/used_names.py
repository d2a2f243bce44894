"""`names`: what names cost that were used once and are never used again.

A million callables of 100 000 tenants have one execution each, which all wait at the same time. A
worker completes them, and the server deletes them once its clock is moved past the retention. Its
memory afterwards is compared with that before: after a tenth of the load, which fills the caches.
At the end a `Lease` with new patterns is timed.
"""

import contextlib
import sqlite3
import statistics
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import grpc

from backlane.testing.server import ServerProcess
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as worker_api
from tests.benchmarks.bench import BATCH, TENANT, Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.machine import resident_bytes
from tests.benchmarks.noop_worker import ALL, NoopWorker
from tests.plain_client import PlainClient

LEASE: Final = "/backlane.v1.WorkerService/Lease"
MIB: Final = 1024 * 1024
CALLABLES_PER_TENANT: Final = 10
PATTERNS: Final = 1000
LEASES: Final = 21
RATIO_TARGET: Final = 1.1
LEASE_TARGET_MS: Final = 20.0
DELETED_S: Final = 120.0
DELETION_EVERY_S: Final = 10.0
"""The server looks so often for what it may delete."""
LOOK_S: Final = 0.5
CALM_LOOKS: Final = 20
"""Memory counts as settled once it has not fallen in so many looks."""


@dataclass
class Memory:
    """The resident memory of a server, in bytes.

    Attributes:
        most: the most that was seen.
        settled: what it was when it fell no further.
    """

    most: int
    settled: int


def run(bench: Bench) -> Iterator[Figure]:
    """Use names once, few and then many, and yield memory and times."""
    count, calm_looks = bench.pick(1_000_000, 5_000), bench.pick(CALM_LOOKS, 1)
    with bench.serve("--retention", "1s", test_clock=True) as server:
        fresh = resident_bytes(server.process.pid)
        with bench.account("few", server):
            before = live_and_be_deleted(server, names("few", count // 10), calm_looks)
        with bench.account("many", server):
            after = live_and_be_deleted(server, names("many", count), calm_looks)
        times_ms = list(lease_times_ms(server.target, bench.pick(LEASES, 3)))
    yield Figure(name="memory, new server", value=fresh / MIB, unit="MiB")
    yield Figure(name="memory before", value=before.settled / MIB, unit="MiB")
    yield Figure(name="memory, most", value=after.most / MIB, unit="MiB")
    yield Figure(name="memory after", value=after.settled / MIB, unit="MiB")
    ratio = after.settled / before.settled
    yield Figure(name="memory, after ÷ before", value=ratio, unit="", at_most=RATIO_TARGET)
    median = statistics.median(times_ms)
    name = f"Lease of {PATTERNS} new patterns"
    yield Figure(name=name, value=median, unit="ms", at_most=LEASE_TARGET_MS)
    yield Figure(name=f"{name}, longest", value=max(times_ms), unit="ms", at_most=LEASE_TARGET_MS)


def names(prefix: str, count: int) -> Iterator[api.EnqueueStreamRequest]:
    """Yield executions whose callables are all different, ten for each tenant."""
    for first in range(0, count, BATCH):
        yield api.EnqueueStreamRequest(
            items=[
                api.EnqueueRequest(
                    tenant_id=f"{prefix}-{number // CALLABLES_PER_TENANT}",
                    callable_name=f"{prefix}.number-{number}",
                )
                for number in range(first, first + BATCH)
            ]
        )


def live_and_be_deleted(
    server: ServerProcess, messages: Iterator[api.EnqueueStreamRequest], calm_looks: int
) -> Memory:
    """Enqueue, complete and delete, and return the memory that this took and left."""
    pid = server.process.pid
    with PlainClient(server.target, TENANT) as client:
        accepted = sum(outcome.HasField("result") for outcome in client.enqueue_stream(messages))
    most = resident_bytes(pid)
    NoopWorker(server.target, accepted, ALL).result()
    most = max(most, resident_bytes(pid))
    wait_until_deleted(server)
    settled = resident_bytes(pid)
    calm = 0
    while calm < calm_looks:
        time.sleep(LOOK_S)
        now = resident_bytes(pid)
        calm = calm + 1 if now >= settled else 0
        settled = min(settled, now)
    return Memory(most, settled)


def wait_until_deleted(server: ServerProcess) -> None:
    """Move the clock on, and return once the database holds no finished execution.

    Raises:
        TimeoutError: some are left after a long time.
    """
    assert server.data is not None
    uri = f"{(server.data / 'backlane.db').as_uri()}?mode=ro"
    until_s = time.monotonic() + DELETED_S
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        while database.execute("SELECT EXISTS (SELECT 1 FROM ending)").fetchone()[0]:
            if time.monotonic() > until_s:
                raise TimeoutError("finished executions are not deleted")
            server.clock.advance(DELETION_EVERY_S)
            time.sleep(LOOK_S)


def lease_times_ms(target: str, count: int) -> Iterator[float]:
    """Yield the milliseconds of leases that offer patterns that no lease offered before."""
    with grpc.insecure_channel(target) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(LEASE)
        for _ in range(count):
            prefix = uuid.uuid4().hex
            patterns = [f"{prefix}.number-{number}.*" for number in range(PATTERNS)]
            request = worker_api.LeaseRequest(worker_id="new", callables=patterns)
            encoded = request.SerializeToString()
            began = time.perf_counter()
            call(encoded, timeout=60)
            yield (time.perf_counter() - began) * 1000
