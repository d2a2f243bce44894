"""`stop`: the time from SIGTERM to the end of a server at which everybody is idle.

Producers have an open `EnqueueStream` each, over which one item was accepted, and workers have an
open `Work` stream each, with credit and without leases. Nobody of them sends anything further by
himself. The longest stop of several is compared with the target.
"""

import queue
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Final

import grpc

from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as worker_api
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.benchmarks.bench import CALLABLE, TENANT, Bench
from tests.benchmarks.figures import Figure

TARGET_S: Final = 1.0
PRODUCERS: Final = 200
WORKERS: Final = 50
ROUNDS: Final = 5


def run(bench: Bench) -> Iterator[Figure]:
    """Stop servers, and yield the times."""
    producers, workers = bench.pick(PRODUCERS, 3), bench.pick(WORKERS, 2)
    for who, most_producers, most_workers in (
        ("nobody", 0, 0),
        (f"{producers} producers", producers, 0),
        (f"{workers} workers", 0, workers),
        (f"{producers} producers and {workers} workers", producers, workers),
    ):
        times_s = [
            stop_s(bench, most_producers, most_workers) for _ in range(bench.pick(ROUNDS, 1))
        ]
        yield Figure(
            name=f"longest stop, {who}",
            value=max(times_s),
            unit="s",
            rounds=tuple(times_s),
            at_most=TARGET_S,
        )


def stop_s(bench: Bench, producers: int, workers: int) -> float:
    """Return the seconds that one server takes to stop while so many are idle."""
    with bench.serve() as server, ExitStack() as everybody:
        for _ in range(producers):
            everybody.enter_context(idle_producer(server.target))
        for number in range(workers):
            everybody.enter_context(idle_worker(server.target, number))
        began = time.monotonic()
        assert server.stop() == 0
        return time.monotonic() - began


@contextmanager
def connection(target: str) -> Iterator[grpc.Channel]:
    """Open a connection that is shared with nobody."""
    with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


@contextmanager
def idle_producer(target: str) -> Iterator[None]:
    """Keep a producer's stream open, over which one item was accepted."""
    item = api.EnqueueRequest(tenant_id=TENANT, callable_name=f"{CALLABLE}.never")
    requests: queue.SimpleQueue[api.EnqueueStreamRequest | None] = queue.SimpleQueue()
    with connection(target) as channel:
        call = ExecutionServiceStub(channel).EnqueueStream(iter(requests.get, None))
        requests.put(api.EnqueueStreamRequest(items=[item]))
        assert next(call).outcomes[0].HasField("result")
        yield
        requests.put(None)


@contextmanager
def idle_worker(target: str, number: int) -> Iterator[None]:
    """Keep a worker's stream open until the server tells the worker that it drains."""
    hello = worker_api.WorkHello(worker_id=f"idle-{number}", callables=[CALLABLE])
    requests: queue.SimpleQueue[worker_api.WorkRequest | None] = queue.SimpleQueue()
    requests.put(worker_api.WorkRequest(hello=hello))
    requests.put(worker_api.WorkRequest(credit=worker_api.WorkCredit(executions=16)))
    with connection(target) as channel:
        call = WorkerServiceStub(channel).Work(iter(requests.get, None))
        assert next(call).HasField("welcome")
        reader = Thread(target=leave_when_it_drains, args=(call, requests))
        reader.start()
        yield
        reader.join()


def leave_when_it_drains(
    call: Iterable[worker_api.WorkResponse],
    requests: "queue.SimpleQueue[worker_api.WorkRequest | None]",
) -> None:
    """Half-close the stream of a worker without leases once the server drains."""
    for response in call:
        if response.HasField("drain"):
            requests.put(None)
