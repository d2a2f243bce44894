"""`unary`: the rate of single, durable enqueues compared with that of the bare transport.

32 callers on one channel, and one alone, against an echo of the same bytes in a process of its
own. Rounds alternate, so that all see the same machine; a figure is the ratio of two medians.
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

RATIO_TARGETS: Final = {32: 0.7, 1: 0.65}
"""The least ratio, by number of callers."""

Rates = dict[tuple[str, int], list[float]]
"""Calls per second round by round, by what is called and the number of callers."""


def run(bench: Bench) -> Iterator[Figure]:
    """Measure both, and yield their rates and the ratio, for each number of callers."""
    with bench.serve() as server, echo_server() as (echo_target, echo_pid):
        rates = asyncio.run(_alternate(bench, echo_target, echo_pid, server))
    for callers, target in RATIO_TARGETS.items():
        suffix = _suffix(callers)
        bare = Figure.of_rounds(f"bare echo{suffix}", rates["bare echo", callers], "calls/s")
        real = Figure.of_rounds(f"Enqueue{suffix}", rates["Enqueue", callers], "calls/s")
        yield bare
        yield real
        yield Figure(
            name=f"Enqueue ÷ echo{suffix}",
            value=real.value / bare.value,
            unit="",
            at_least=target,
        )


def _suffix(callers: int) -> str:
    return ", one caller" if callers == 1 else ""


async def _alternate(bench: Bench, echo_target: str, echo_pid: int, server: ServerProcess) -> Rates:
    """Return the rates of the echo and of the server."""
    request = enqueue_request().SerializeToString()
    rounds, seconds = bench.pick(25, 2), bench.pick(0.8, 0.3)
    rates: Rates = {}
    async with (
        grpc.aio.insecure_channel(echo_target) as echo_channel,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        calls = {"bare echo": raw_call(echo_channel, ECHO), "Enqueue": raw_call(channel, ENQUEUE)}
        for call in calls.values():
            await _rate(call, request, seconds, max(RATIO_TARGETS))
        for _ in range(rounds):
            for callers in RATIO_TARGETS:
                for name, call in calls.items():
                    echo_pids = (echo_pid,) if name == "bare echo" else ()
                    with bench.account(f"{name}{_suffix(callers)}", server, *echo_pids):
                        rate = await _rate(call, request, seconds, callers)
                    rates.setdefault((name, callers), []).append(rate)
    return rates


async def _rate(call: RawCall, request: bytes, seconds: float, callers: int) -> float:
    """Call from that many callers for that long, and return answers per second."""
    began = time.perf_counter()
    deadline = began + seconds
    answered = 0

    async def caller() -> None:
        nonlocal answered
        while time.perf_counter() < deadline:
            await call(request)
            answered += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    return answered / (time.perf_counter() - began)
