"""`sdk`: the SDK's rates for callables in one worker and enqueues of one client, and its start.

The worker works off a backlog. The client's enqueues are acknowledged, so they are on the disk.
"""

import asyncio
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from backlane import AsyncClient, Client, RawInput
from tests.benchmarks.bench import CALLABLE, INPUT_BYTES, TENANT, Bench
from tests.benchmarks.cpu import thread_times
from tests.benchmarks.figures import Figure
from tests.benchmarks.requests import enqueue_batches
from tests.benchmarks.sdk_worker import callable_rate, idle_worker

CALLERS: Final = 32
TEXT: Final = RawInput("x" * INPUT_BYTES)
CALLABLE_TARGETS: Final = {16: 15_000, 32: 18_000}
"""Executions a second, by number of slots; 16 is the default."""
IDLE_S: Final = 10.0
IDLE_TARGET: Final = 1.0
"""Percent of a processor that an idle server and an idle worker may use together."""
ENQUEUE_TARGET: Final = 18_000
CALL: Final = 500
"""Inputs of one call of `enqueue_many`, for the figure of small calls."""
MANY_TARGET: Final = 60_000
CALL_TARGET: Final = 90_000
IMPORT_TARGET_MS: Final = 150
HELP_TARGET_MS: Final = 300


def run(bench: Bench) -> Iterator[Figure]:
    """Measure in rounds, and yield the figures."""
    yield from _callables(bench)
    yield _idle(bench)
    yield from _enqueues(bench)
    starts = bench.pick(15, 2)
    for name, words, at_most in (
        ("import backlane", ["-c", "import backlane"], IMPORT_TARGET_MS),
        ("backlane --help", ["-m", "backlane", "--help"], HELP_TARGET_MS),
    ):
        times_ms = [_start_ms(words) for _ in range(starts)]
        value, rounds = statistics.median(times_ms), tuple(times_ms)
        yield Figure(name=name, value=value, unit="ms", rounds=rounds, at_most=at_most)


def _callables(bench: Bench) -> Iterator[Figure]:
    rounds, count = bench.pick(5, 1), bench.pick(40_000, 2_000)
    kinds = itertools.product(("async", "plain"), CALLABLE_TARGETS)
    rates: dict[tuple[str, int], list[float]] = {kind: [] for kind in kinds}
    with bench.serve() as server:
        for _ in range(rounds):
            for (kind, slots), found in rates.items():
                enqueue_batches(server.target, count)
                with bench.account(f"{kind} callable, {slots} slots", server):
                    found.append(callable_rate(server.target, count, kind, slots))
    for (kind, slots), found in rates.items():
        name, at_least = f"{kind} callable, {slots} slots", CALLABLE_TARGETS[slots]
        yield Figure.of_rounds(name, found, "executions/s", at_least=at_least)


def _idle(bench: Bench) -> Figure:
    """Return how much of a processor an idle server and an idle worker use."""
    name = "idle server and worker"
    with bench.serve() as server, idle_worker(server.target) as worker:
        pids = [server.process.pid, worker.pid]
        began, before_s = time.monotonic(), _used_s(pids)
        time.sleep(bench.pick(IDLE_S, 0.5))
        percent = 100 * (_used_s(pids) - before_s) / (time.monotonic() - began)
    return Figure(name=name, value=percent, unit="% of a processor", at_most=IDLE_TARGET)


def _used_s(pids: list[int]) -> float:
    return sum(sum(thread_times(pid).values()) for pid in pids)


def _enqueues(bench: Bench) -> Iterator[Figure]:
    rounds = bench.pick(5, 1)
    single, many = bench.pick(30_000, 1_000), bench.pick(100_000, 2_000)
    calls = bench.pick(60, 4)
    # One loop for all: the transport of a loop that is closed may still log its end.
    singles, awaited = asyncio.run(_awaited(bench, single, calls, rounds))
    manies = [_many(bench, many) for _ in range(rounds)]
    plain = [_calls(bench, calls) for _ in range(rounds)]
    name = f"await enqueue, {CALLERS} at once"
    yield Figure.of_rounds(name, singles, "executions/s", at_least=ENQUEUE_TARGET)
    yield Figure.of_rounds(f"enqueue_many({many:_})", manies, "executions/s", at_least=MANY_TARGET)
    for method, found in ("enqueue_many", plain), ("await enqueue_many", awaited):
        name = f"{method}({CALL}), one call after another"
        yield Figure.of_rounds(name, found, "executions/s", at_least=CALL_TARGET)


async def _awaited(
    bench: Bench, single: int, calls: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Return the rates of many callers, and those of calls of `enqueue_many`, of `AsyncClient`."""
    with bench.serve() as server:
        singles = await _concurrent(server.target, single, rounds)
    return singles, [await _awaited_calls(bench, calls) for _ in range(rounds)]


async def _concurrent(target: str, count: int, rounds: int) -> list[float]:
    """Return enqueues per second of so many callers that each wait for one at a time."""
    rates = []
    async with AsyncClient(target, tenant=TENANT) as client:
        await client.enqueue(CALLABLE, TEXT)

        async def caller() -> None:
            for _ in range(count // CALLERS):
                await client.enqueue(CALLABLE, TEXT)

        for _ in range(rounds):
            began = time.perf_counter()
            await asyncio.gather(*(caller() for _ in range(CALLERS)))
            rates.append(count // CALLERS * CALLERS / (time.perf_counter() - began))
    return rates


def _many(bench: Bench, count: int) -> float:
    """Return executions per second of one call, on a server of its own."""
    with bench.serve() as server, Client(server.target, tenant=TENANT) as client:
        client.enqueue(CALLABLE, TEXT)
        began = time.perf_counter()
        handles = client.enqueue_many(CALLABLE, (TEXT for _ in range(count)))
        seconds = time.perf_counter() - began
    assert len(handles) == count
    return count / seconds


def _calls(bench: Bench, calls: int) -> float:
    """Return executions per second of so many calls, one after another, on a server of its own."""
    with bench.serve() as server, Client(server.target, tenant=TENANT) as client:
        client.enqueue(CALLABLE, TEXT)
        began = time.perf_counter()
        for _ in range(calls):
            client.enqueue_many(CALLABLE, [TEXT] * CALL)
        return calls * CALL / (time.perf_counter() - began)


async def _awaited_calls(bench: Bench, calls: int) -> float:
    """Return the same of `AsyncClient`."""
    with bench.serve() as server:
        async with AsyncClient(server.target, tenant=TENANT) as client:
            await client.enqueue(CALLABLE, TEXT)
            began = time.perf_counter()
            for _ in range(calls):
                await client.enqueue_many(CALLABLE, [TEXT] * CALL)
            return calls * CALL / (time.perf_counter() - began)


def _start_ms(words: list[str]) -> float:
    """Return how long a process takes from its start to its end, in milliseconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000
