"""A process that works with the SDK: `python -m tests.benchmarks.sdk_worker TARGET N KIND`.

Its callable does nothing, as an `async def` or as a plain function. It prints what it did as one
JSON line; only completions that the server answered with OK count.
"""

import json
import sys
import time
from subprocess import PIPE, Popen

from backlane import Worker
from backlane.v1 import worker_service_pb2 as api
from tests.benchmarks.bench import CALLABLE, TENANT
from tests.benchmarks.machine import CHECKOUT


def work(target: str, count: int, kind: str) -> float:
    """Complete at least that many executions, and return how many a second."""
    completed, rate = 0, 0.0

    def observe(_: api.WorkRequest, outcomes: api.WorkOutcomes) -> None:
        nonlocal completed, rate
        completed += sum(1 for outcome in outcomes.outcomes if outcome.HasField("result"))
        if completed >= count and not rate:
            rate = completed / (time.monotonic() - began)
            shift.drain()

    worker = Worker("bench", target=target, tenants=TENANT, observe=observe)
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


def callable_rate(target: str, count: int, kind: str) -> float:
    """Return completions per second of one process that works off a backlog."""
    command = [sys.executable, "-m", __name__, target, str(count), kind]
    with Popen(command, cwd=CHECKOUT, stdout=PIPE, text=True) as process:
        printed, _ = process.communicate()
    rate: float = json.loads(printed)
    return rate


if __name__ == "__main__":
    print(json.dumps(work(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
