"""`runs`: steps, graphs, and a cascade while others enqueue.

Steps are taken with the SDK's worker. Graphs and cascades use encoded requests and the plain
worker, so that mostly the server is measured.
"""

import asyncio
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Self

import grpc

from backlane import Client, RawInput
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.benchmarks.bench import CALLABLE, INPUT_BYTES, TENANT, Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.noop_worker import NoopWorker
from tests.benchmarks.requests import CHANNEL_OPTIONS, enqueue_batches, enqueue_request, raw_call
from tests.benchmarks.steps_worker import run_worker
from tests.plain_client import PlainClient

STEPS_TARGET: Final = 20_000
SLOTS: Final = 128
ENQUEUES_TARGET: Final = 2.0
"""The most enqueues that one step takes as long as."""
LAYERS: Final = 40
DEPENDENCIES: Final = 8
"""Dependencies of each node, all on the layer before."""
GRAPH_TARGET: Final = 0.5
IDLE_TARGET: Final = 3.0
"""The most times that the p99 of an enqueue may be longer during a cascade."""
START_S: Final = 30.0
SPAWN: Final = "/backlane.v1.ExecutionService/Spawn"
SPAWNERS: Final = 32
TEXT: Final = RawInput("x" * INPUT_BYTES)


def run(bench: Bench) -> Iterator[Figure]:
    """Measure steps, graphs and cascades in rounds, and yield the figures."""
    yield _step_rate(bench)
    yield from _one_step(bench)
    yield from _graphs(bench)
    yield from _cascades(bench)


def _step_rate(bench: Bench) -> Figure:
    rounds, count = bench.pick(5, 1), bench.pick(4_000, 100)
    rates = []
    with bench.serve() as server:
        for _ in range(rounds):
            enqueue_batches(server.target, count)
            with bench.account("steps", server):
                rates.append(run_worker("rate", server.target, count, SLOTS))
    return Figure.of_rounds("20 steps an execution", rates, "steps/s", at_least=STEPS_TARGET)


def _one_step(bench: Bench) -> Iterator[Figure]:
    """Compare steps of one execution at a time with enqueues of one caller, in turns."""
    rounds, count = bench.pick(5, 1), bench.pick(50, 5)
    steps: list[float] = []
    enqueues: list[float] = []
    with bench.serve() as server, Client(server.target, tenant="other") as client:
        for _ in range(rounds):
            enqueues += _timed(lambda: client.enqueue(CALLABLE, TEXT), count * 20)
            enqueue_batches(server.target, count)
            steps += run_worker("one", server.target, count, 1)
    step_ms, enqueue_ms = statistics.median(steps), statistics.median(enqueues)
    yield Figure(name="one step, p50", value=step_ms, unit="ms")
    yield Figure(name="one enqueue, p50", value=enqueue_ms, unit="ms")
    ratio = step_ms / enqueue_ms
    yield Figure(name="step ÷ enqueue", value=ratio, unit="", at_most=ENQUEUES_TARGET)


def _timed(call: Callable[[], object], count: int) -> list[float]:
    times_ms = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - began) * 1000)
    return times_ms


def _graphs(bench: Bench) -> Iterator[Figure]:
    rounds, count = bench.pick(5, 1), bench.pick(10_000, 400)
    graphs: list[float] = []
    plains: list[float] = []
    with bench.serve() as server:
        for _ in range(rounds):
            for layers, found in ((LAYERS, graphs), (1, plains)):
                found.append(_worked_off(server.target, _layered(count, layers), count))
    yield Figure.of_rounds("graph in layers of 250", graphs, "nodes/s")
    yield Figure.of_rounds("the same without edges", plains, "nodes/s")
    ratio = statistics.median(graphs) / statistics.median(plains)
    yield Figure(name="graph ÷ plain", value=ratio, unit="", at_least=GRAPH_TARGET)


def _layered(count: int, layers: int) -> bytes:
    """Return a batch of nodes that each wait for some of the layer before theirs."""
    width = count // layers
    items = []
    for number in range(count):
        item = enqueue_request()
        layer, place = divmod(number, width)
        if layer:
            before = (layer - 1) * width
            item.depends_on_items.extend(
                before + (place + step) % width for step in range(DEPENDENCIES)
            )
        items.append(item)
    return api.EnqueueBatchRequest(tenant_id=TENANT, items=items).SerializeToString()


def _worked_off(target: str, batch: bytes, count: int) -> float:
    """Return nodes per second, from the enqueue to the last completion."""
    worker = NoopWorker(target, count)
    with PlainClient(target, TENANT) as client:
        # Completed before the clock starts, so that the worker's own start is not measured.
        first = client.enqueue(CALLABLE).execution.execution_id
        assert client.wait([first], timeout_s=START_S).satisfied
    began = time.monotonic()
    asyncio.run(_send(target, batch))
    tally = worker.result()
    return tally.completed / (tally.ended_at - began)


async def _send(target: str, batch: bytes) -> None:
    async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        await raw_call(channel, "/backlane.v1.ExecutionService/EnqueueBatch")(batch)


def _cascades(bench: Bench) -> Iterator[Figure]:
    rounds, count = bench.pick(5, 1), bench.pick(10_000, 300)
    idle: list[float] = []
    busy: list[float] = []
    seconds: list[float] = []
    with bench.serve() as server, Client(server.target, tenant="other") as client:

        def enqueue() -> object:
            return client.enqueue(CALLABLE, TEXT)

        for _ in range(rounds):
            idle += _timed(enqueue, bench.pick(1_000, 100))
            parent = _parent(server.target)
            asyncio.run(_spawn_all(server.target, parent, count))
            with _Cascade(server.target, parent) as cascade:
                while not cascade.is_over:
                    busy += _timed(enqueue, 1)
            seconds.append(cascade.seconds)
    alone, beside = (statistics.quantiles(times, n=100)[98] for times in (idle, busy))
    yield Figure.of_rounds("cascade", [count / each for each in seconds], "cancels/s")
    yield Figure(name="another tenant's enqueue, p99", value=alone, unit="ms")
    yield Figure(name="the same during a cascade", value=beside, unit="ms")
    yield Figure(name="cascade ÷ idle", value=beside / alone, unit="", at_most=IDLE_TARGET)


def _parent(target: str) -> work.LeaseRef:
    """Enqueue an execution and lease it."""
    with grpc.insecure_channel(target) as channel:
        request = enqueue_request()
        request.callable_name = "bench.parent"
        ExecutionServiceStub(channel).Enqueue(request)
        asked = work.LeaseRequest(
            worker_id="parent",
            callables=["bench.parent"],
            max_executions=1,
            lease_duration_ms=3_600_000,
        )
        [lease] = WorkerServiceStub(channel).Lease(asked).leases
    return work.LeaseRef(execution_id=lease.execution.execution_id, lease_token=lease.lease_token)


async def _spawn_all(target: str, parent: work.LeaseRef, count: int) -> None:
    request = api.SpawnRequest(
        enqueue=enqueue_request(),
        mode=api.SpawnMode(child=api.SpawnChild(background=True)),
        parent_execution_id=parent.execution_id,
        lease_token=parent.lease_token,
    ).SerializeToString()
    async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        call = raw_call(channel, SPAWN)

        async def spawner() -> None:
            for _ in range(count // SPAWNERS + 1):
                await call(request)

        await asyncio.gather(*(spawner() for _ in range(SPAWNERS)))


class _Cascade:
    """Fails a parent, and looks in a thread when the last of its children has been cancelled."""

    def __init__(self, target: str, parent: work.LeaseRef) -> None:
        self._channel = grpc.insecure_channel(target)
        self._parent = parent
        self._thread = threading.Thread(target=self._run)
        self.is_over = False
        self.seconds = 0.0

    def __enter__(self) -> Self:
        # A new connection costs this process several milliseconds, which the enqueues must not pay.
        grpc.channel_ready_future(self._channel).result(timeout=10)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._channel.close()

    def _run(self) -> None:
        error = records.ExecutionError(
            category=records.ERROR_CATEGORY_VALIDATION_ERROR, message="cascade"
        )
        failure = work.Failure(
            execution_id=self._parent.execution_id,
            lease_token=self._parent.lease_token,
            error=error,
        )
        began = time.perf_counter()
        WorkerServiceStub(self._channel).Fail(work.FailRequest(failures=[failure]))
        asked = api.GetQueueStatsRequest(tenant_id=TENANT)
        while ExecutionServiceStub(self._channel).GetQueueStats(asked).ready:
            time.sleep(0.01)
        self.seconds = time.perf_counter() - began
        self.is_over = True
