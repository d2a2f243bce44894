"""A process whose callables take steps: `python -m tests.benchmarks.steps_worker`.

Its arguments are a kind, the server, a count N, and the number of slots. With the kind `rate` it
completes N executions of some steps each, and prints how many steps a second the server has
recorded. With `one` it completes N executions too, and prints how long each step took in
milliseconds. Only completions that the server answered with OK count.
"""

import json
import sys
import time
from subprocess import PIPE, Popen
from typing import Any, Final

from backlane import Context, Worker
from backlane.v1 import worker_service_pb2 as api
from tests.benchmarks.bench import CALLABLE, TENANT
from tests.benchmarks.machine import CHECKOUT

STEPS: Final = 20
"""Steps of an execution."""


async def _nothing(given: int) -> int:
    return given


def rate(target: str, count: int, slots: int) -> float:
    """Complete at least that many executions, and return steps a second."""
    completed, found = 0, 0.0

    def observe(_: api.WorkRequest, outcomes: api.WorkOutcomes) -> None:
        nonlocal completed, found
        completed += sum(1 for outcome in outcomes.outcomes if outcome.HasField("result"))
        if completed >= count and not found:
            found = completed * STEPS / (time.monotonic() - began)
            shift.drain()

    worker = Worker("steps", target=target, tenants=TENANT, concurrency=slots, observe=observe)

    @worker.callable(name=CALLABLE)
    async def take(ctx: Context, text: str) -> int:
        assert text
        return sum([await ctx.step("step", _nothing, number) for number in range(STEPS)])

    began = time.monotonic()
    shift = worker.start()
    shift.wait()
    return found


def one(target: str, count: int, slots: int) -> list[float]:
    """Return the milliseconds of each step of so many executions, which run one after another."""
    times_ms: list[float] = []
    completed = 0

    def observe(_: api.WorkRequest, outcomes: api.WorkOutcomes) -> None:
        nonlocal completed
        completed += sum(1 for outcome in outcomes.outcomes if outcome.HasField("result"))
        if completed >= count:
            shift.drain()

    worker = Worker("one", target=target, tenants=TENANT, concurrency=slots, observe=observe)

    @worker.callable(name=CALLABLE)
    async def take(ctx: Context, text: str) -> None:
        assert text
        for number in range(STEPS):
            began = time.perf_counter()
            await ctx.step("step", _nothing, number)
            times_ms.append((time.perf_counter() - began) * 1000)

    shift = worker.start()
    shift.wait()
    return times_ms


def run_worker(kind: str, target: str, count: int, slots: int) -> Any:  # noqa: ANN401  # any kind
    """Run the process, and return what it printed."""
    command = [sys.executable, "-m", __name__, kind, target, str(count), str(slots)]
    with Popen(command, cwd=CHECKOUT, stdout=PIPE, text=True) as process:
        printed, _ = process.communicate()
    return json.loads(printed)


if __name__ == "__main__":
    kinds = {"rate": rate, "one": one}
    print(json.dumps(kinds[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
