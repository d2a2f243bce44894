"""`unary`: the rate of single, durable enqueues compared with that of the bare transport.

32 callers on one channel, against an echo of the same bytes in a process of its own. Rounds of
the two alternate, so that both see the same machine; the figure is the ratio of their medians.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

import grpc

from backlane.testing.server import ServerProcess
from tests.benchmarks.bench import Bench
from tests.benchmarks.echo_server import ECHO, echo_server
from tests.benchmarks.figures import Figure
from tests.benchmarks.requests import ENQUEUE, RawCall, enqueue_request, raw_call

CALLERS: Final = 32
RATIO_TARGET: Final = 0.7


def run(bench: Bench) -> Iterator[Figure]:
    """Measure both, and yield their rates and the ratio."""
    with bench.serve() as server, echo_server() as (echo_target, echo_pid):
        echo, enqueue = asyncio.run(_alternate(bench, echo_target, echo_pid, server))
    bare = Figure.of_rounds("bare echo", echo, "calls/s")
    real = Figure.of_rounds("Enqueue", enqueue, "calls/s")
    yield bare
    yield real
    yield Figure(
        name="Enqueue ÷ echo",
        value=real.value / bare.value,
        unit="",
        at_least=RATIO_TARGET,
    )


async def _alternate(
    bench: Bench, echo_target: str, echo_pid: int, server: ServerProcess
) -> tuple[list[float], list[float]]:
    """Return calls per second of the echo and of the server, round by round."""
    request = enqueue_request().SerializeToString()
    rounds, seconds = bench.pick(25, 2), bench.pick(0.8, 0.3)
    echo: list[float] = []
    enqueue: list[float] = []
    async with (
        grpc.aio.insecure_channel(echo_target) as echo_channel,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        echo_call, enqueue_call = raw_call(echo_channel, ECHO), raw_call(channel, ENQUEUE)
        for call in (echo_call, enqueue_call):
            await _rate(call, request, seconds)
        for _ in range(rounds):
            with bench.account("bare echo", server, echo_pid):
                echo.append(await _rate(echo_call, request, seconds))
            with bench.account("Enqueue", server):
                enqueue.append(await _rate(enqueue_call, request, seconds))
    return echo, enqueue


async def _rate(call: RawCall, request: bytes, seconds: float) -> float:
    """Call from many callers for that long, and return answers per second."""
    began = time.perf_counter()
    deadline = began + seconds
    answered = 0

    async def caller() -> None:
        nonlocal answered
        while time.perf_counter() < deadline:
            await call(request)
            answered += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return answered / (time.perf_counter() - began)
