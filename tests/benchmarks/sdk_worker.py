"""A process that works with the SDK: `python -m tests.benchmarks.sdk_worker TARGET N KIND SLOTS`.

Its callable does nothing, as an `async def` or as a plain function. It prints what it did as one
JSON line; only completions that the server answered with OK count.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

from backlane import Worker
from backlane.v1 import worker_service_pb2 as api
from tests.benchmarks.bench import CALLABLE, TENANT
from tests.benchmarks.machine import CHECKOUT


def work(target: str, count: int, kind: str, slots: int) -> float:
    """Complete at least that many executions, and return how many a second."""
    completed, rate = 0, 0.0

    def observe(_: api.WorkRequest, outcomes: api.WorkOutcomes) -> None:
        nonlocal completed, rate
        completed += sum(1 for outcome in outcomes.outcomes if outcome.HasField("result"))
        if completed >= count and not rate:
            rate = completed / (time.monotonic() - began)
            shift.drain()

    worker = Worker("bench", target=target, tenants=TENANT, concurrency=slots, observe=observe)
    if kind == "async":

        @worker.callable(name=CALLABLE)
        async def do_nothing_async(given: str) -> None: ...
    else:

        @worker.callable(name=CALLABLE)
        def do_nothing(given: str) -> None: ...

    began = time.monotonic()
    shift = worker.start()
    shift.wait()
    return rate


def callable_rate(target: str, count: int, kind: str, slots: int) -> float:
    """Return completions per second of one process that works off a backlog."""
    command = [sys.executable, "-m", __name__, target, str(count), kind, str(slots)]
    with Popen(command, cwd=CHECKOUT, stdout=PIPE, text=True) as process:
        printed, _ = process.communicate()
    rate: float = json.loads(printed)
    return rate


@contextmanager
def idle_worker(target: str) -> Iterator[Popen[str]]:
    """Run a worker that has nothing to do, from the time when it is connected."""
    command = [sys.executable, "-m", __name__, target]
    with Popen(command, cwd=CHECKOUT, stderr=PIPE, text=True) as process:
        assert process.stderr is not None
        while "connected" not in process.stderr.readline():
            assert process.poll() is None, "the worker has ended"
        yield process
        process.terminate()


def be_idle(target: str) -> None:
    """Offer a callable that nobody enqueues."""
    logging.basicConfig(level=logging.INFO)
    worker = Worker("idle", target=target, tenants=TENANT)

    @worker.callable(name="bench.idle")
    async def do_nothing() -> None: ...

    worker.run()


if __name__ == "__main__":
    if sys.argv[2:]:
        print(json.dumps(work(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))))
    else:
        be_idle(sys.argv[1])
