"""`deep`: what a million queued executions change.

Two servers, one shallow and one deep, take turns at the same two loads, so that both see the same
machine; each ratio is of their medians. Memory is the growth of the resident set over the fill.
A restart is timed from the start of the process, after SIGKILL, to the first lease in hand.
"""

import random
import statistics
import time
import uuid
from collections.abc import Iterator
from typing import Final, NamedTuple

import grpc

from backlane.testing.server import ServerProcess
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as worker_api
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.benchmarks.batch import check_depth
from tests.benchmarks.bench import BATCH, CALLABLE, TENANT, Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.machine import resident_bytes
from tests.benchmarks.noop_worker import completion_rate
from tests.benchmarks.requests import enqueue_batches, enqueue_request
from tests.plain_client import PlainClient

RATIO_TARGET: Final = 0.9
BYTES_TARGET: Final = 200
RESTART_TARGET_S: Final = 3.0
EXPLAIN_TARGET_MS: Final = 2.0


class Rates(NamedTuple):
    """Rates per second of one server, round by round."""

    batch: list[float]
    lifecycles: list[float]


def run(bench: Bench) -> Iterator[Figure]:
    """Measure rates, memory and restart, and yield the figures."""
    depth = bench.pick(1_000_000, 20_000)
    with bench.serve() as shallow, bench.serve() as deep:
        before = resident_bytes(deep.process.pid)
        enqueue_batches(deep.target, depth)
        grown = resident_bytes(deep.process.pid) - before
        check_depth(deep.target, depth)
        yield from _compare(bench, shallow, deep)
        yield _explain(bench, deep)
        yield from _restart(shallow, deep)
    yield _memory("memory, batches", grown / depth)
    with bench.serve() as server:
        before = resident_bytes(server.process.pid)
        with bench.account("EnqueueStream with request ids", server):
            seconds = fill_with_request_ids(server.target, depth)
        grown = resident_bytes(server.process.pid) - before
        check_depth(server.target, depth)
    yield _memory("memory, stream with request ids", grown / depth)
    yield Figure(name="EnqueueStream rate", value=depth / seconds, unit="executions/s")


def fill_with_request_ids(target: str, executions: int) -> float:
    """Enqueue over a stream, each with a request id of its own, and return the seconds."""
    numbers = random.Random(0)  # noqa: S311  # no secret

    def messages() -> Iterator[api.EnqueueStreamRequest]:
        for _ in range(executions // BATCH):
            items = [enqueue_request() for _ in range(BATCH)]
            for item in items:
                item.request_id = str(uuid.UUID(int=numbers.getrandbits(128), version=4))
            yield api.EnqueueStreamRequest(items=items)

    began = time.monotonic()
    with PlainClient(target, TENANT) as client:
        outcomes = client.enqueue_stream(messages())
        accepted = sum(1 for outcome in outcomes if outcome.HasField("result"))
    assert accepted == executions
    return time.monotonic() - began


def _memory(name: str, per_execution: float) -> Figure:
    return Figure(name=name, value=per_execution, unit="bytes/queued", at_most=BYTES_TARGET)


def _compare(bench: Bench, shallow: ServerProcess, deep: ServerProcess) -> Iterator[Figure]:
    rounds, count = bench.pick(5, 1), bench.pick(100_000, 5_000)
    rates = {"shallow": Rates([], []), "deep": Rates([], [])}
    for _ in range(rounds):
        for server, stage in ((shallow, "shallow"), (deep, "deep")):
            with bench.account(f"{stage}, EnqueueBatch", server):
                rates[stage].batch.append(enqueue_batches(server.target, count))
            with bench.account(f"{stage}, lifecycles", server):
                rates[stage].lifecycles.append(completion_rate(server.target, count))
    for name, unit in (("batch", "executions/s"), ("lifecycles", "lifecycles/s")):
        few, many = (
            Figure.of_rounds(f"{name}, {stage}", getattr(rates[stage], name), unit)
            for stage in ("shallow", "deep")
        )
        yield few
        yield many
        ratio = many.value / few.value
        yield Figure(name=f"{name}, deep ÷ shallow", value=ratio, unit="", at_least=RATIO_TARGET)


def _explain(bench: Bench, deep: ServerProcess) -> Figure:
    """Time `Explain` of the newest execution, while a worker holds another one."""
    lease = worker_api.LeaseRequest(worker_id="w", callables=[CALLABLE], tenant_ids=[TENANT])
    took_ms: list[float] = []
    with grpc.insecure_channel(deep.target) as channel:
        WorkerServiceStub(channel).Lease(lease, timeout=30)
        stub = ExecutionServiceStub(channel)
        listed = stub.List(api.ListRequest(tenant_id=TENANT, page_size=1), timeout=30)
        newest = listed.executions[0].execution_id
        request = api.ExplainRequest(tenant_id=TENANT, execution_id=newest)
        told = stub.Explain(request, timeout=30)
        for _ in range(bench.pick(1_000, 100)):
            began = time.perf_counter()
            stub.Explain(request, timeout=30)
            took_ms.append((time.perf_counter() - began) * 1_000)
    assert [reason.WhichOneof("kind") for reason in told.reasons] == ["slots_taken", "ahead"]
    p99 = statistics.quantiles(took_ms, n=100)[-1]
    return Figure(name="Explain, p99", value=p99, unit="ms", at_most=EXPLAIN_TARGET_MS)


def _restart(shallow: ServerProcess, deep: ServerProcess) -> Iterator[Figure]:
    """Restart both after SIGKILL; what the empty one takes is the start of the process itself."""
    empty_s, _ = _restart_to_lease(shallow)
    ready_s, lease_s = _restart_to_lease(deep)
    name = "restart to first lease"
    yield Figure(name=name, value=lease_s, unit="s", at_most=RESTART_TARGET_S)
    yield Figure(name="of that, recovery", value=max(0.0, ready_s - empty_s), unit="s")


def _restart_to_lease(server: ServerProcess) -> tuple[float, float]:
    """Return seconds from the start of the process until it is ready, and until a lease came."""
    server.kill()
    began = time.monotonic()
    server.restart()
    ready_s = time.monotonic() - began
    request = worker_api.LeaseRequest(
        worker_id="first", callables=[CALLABLE], tenant_ids=[TENANT], wait_ms=1000
    )
    with grpc.insecure_channel(server.target) as channel:
        WorkerServiceStub(channel).Lease(request, timeout=30)
    return ready_s, time.monotonic() - began
