"""`suspended`: memory of executions that wait without a worker.

A worker leases executions and suspends each with one wait: for an input, or for a day. Memory is
the growth of the resident set over the larger part of the load; the smaller part comes first, so
that it fills the caches. After a SIGKILL and a restart the same difference is taken once more: the
server with all of them, less one that was restarted with the smaller part alone.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Final

import grpc

from backlane.testing.server import ServerProcess
from backlane.v1 import worker_service_pb2 as api
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.benchmarks.bench import CALLABLE, TENANT, Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.machine import resident_bytes
from tests.benchmarks.requests import enqueue_batches

BYTES_TARGET: Final = 250
CHUNK: Final = 500
DAY_MS: Final = 24 * 3600 * 1000
CALM_S: Final = 3.0
LOOK_S: Final = 0.5

Wait = Callable[[], api.WaitPoint]


def run(bench: Bench) -> Iterator[Figure]:
    """Suspend executions for each kind of wait, and yield their memory."""
    few, many = bench.pick(100_000, 1_000), bench.pick(300_000, 2_000)
    numbers = itertools.count()

    def input_wait() -> api.WaitPoint:
        return api.WaitPoint(step_id=step_id(next(numbers)), name="wait", key="approval")

    def day_wait() -> api.WaitPoint:
        return api.WaitPoint(step_id=step_id(next(numbers)), name="wait", wait_ms=DAY_MS)

    calm_s = bench.pick(CALM_S, 0.0)
    for name, wait in (("an input", input_wait), ("a day", day_wait)):
        with bench.serve() as server:
            suspend(server.target, few, wait)
            restart(server)
            restarted_few = settled_bytes(server, calm_s)
        with bench.serve() as server:
            suspend(server.target, few, wait)
            before = settled_bytes(server, calm_s)
            with bench.account(f"suspending for {name}", server):
                suspend(server.target, many, wait)
            grown = settled_bytes(server, calm_s) - before
            restart(server)
            restarted = settled_bytes(server, calm_s) - restarted_few
        yield _memory(f"memory, wait for {name}", grown / many)
        yield _memory(f"memory, wait for {name}, after a restart", restarted / many)


def step_id(number: int) -> str:
    """Return an id of a step that no other execution of the run has."""
    return f"step_0{number:026d}"


def suspend(target: str, count: int, wait: Wait) -> None:
    """Enqueue executions, lease them and suspend each with one wait."""
    enqueue_batches(target, count)
    request = api.LeaseRequest(
        worker_id="suspends", callables=[CALLABLE], tenant_ids=[TENANT], max_executions=CHUNK
    )
    suspended = 0
    with grpc.insecure_channel(target) as channel:
        stub = WorkerServiceStub(channel)
        while suspended < count:
            leases = stub.Lease(request, timeout=30).leases
            suspensions = [
                api.Suspension(
                    execution_id=lease.execution.execution_id,
                    lease_token=lease.lease_token,
                    waits=[wait()],
                )
                for lease in leases
            ]
            response = stub.Suspend(api.SuspendRequest(suspensions=suspensions), timeout=30)
            assert all(outcome.HasField("result") for outcome in response.outcomes)
            suspended += len(leases)


def restart(server: ServerProcess) -> None:
    """End the server with SIGKILL and start it again."""
    server.kill()
    server.restart()


def settled_bytes(server: ServerProcess, calm_s: float) -> int:
    """Return the resident memory once it has not fallen for some seconds."""
    settled = resident_bytes(server.process.pid)
    calm_until = time.monotonic() + calm_s
    while time.monotonic() < calm_until:
        time.sleep(LOOK_S)
        now = resident_bytes(server.process.pid)
        if now < settled:
            settled, calm_until = now, time.monotonic() + calm_s
    return settled


def _memory(name: str, per_execution: float) -> Figure:
    return Figure(name=name, value=per_execution, unit="bytes", at_most=BYTES_TARGET)
