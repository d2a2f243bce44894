"""`python -m tests.hostile`: what a good client feels of each attack, beside honest loads.

An attack has a process of its own, and begins again as soon as it has ended. The limit of the last
column is three times the p99 under the honest load of many small calls.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import sys
import time

from backlane.testing import ServerProcess
from tests.hostile.attacks import ATTACKS, HONEST, attack, prepare
from tests.hostile.good_client import GoodClient
from tests.hostile.memory import MIB, Peak

MEASURED_S = 8.0
TIMES_MAX = 3
QUIET = "nothing else"


async def measure(name: str) -> tuple[float, float, int, int]:
    """Return p50 and p99 of a call in milliseconds, refusals, and the growth in bytes."""
    with ServerProcess.start() as server:
        await prepare(server.target)
        began = multiprocessing.get_context("spawn").Event()
        other = multiprocessing.get_context("spawn").Process(
            target=attack, args=(name, server.target, began), daemon=True
        )
        async with GoodClient(server.target) as good:
            await good.live(10)
            peak = Peak(server.process.pid)
            if name != QUIET:
                other.start()
                await asyncio.to_thread(began.wait)
            good.latencies_s.clear()
            async with peak.watched():
                end = time.monotonic() + MEASURED_S
                while time.monotonic() < end:
                    await good.see_one_through()
            if name != QUIET:
                other.kill()
                other.join()
        cuts = statistics.quantiles(good.latencies_s, n=100)
        return cuts[49] * 1000, cuts[98] * 1000, good.refusals, peak.growth


async def main() -> None:
    """Measure all, and print a table."""
    write = sys.stdout.write
    write(f"{'beside':16} {'p50 ms':>8} {'p99 ms':>8} {'refusals':>8} {'MB more':>8}  p99\n")
    honest_ms = 0.0
    for name in (QUIET, *HONEST, *ATTACKS):
        p50, p99, refusals, growth = await measure(name)
        honest_ms = p99 if name == next(iter(HONEST)) else honest_ms
        times = f"{p99 / honest_ms:.1f} x honest" if honest_ms else ""
        mark = " (too much)" if name in ATTACKS and p99 > TIMES_MAX * honest_ms else ""
        write(f"{name:16} {p50:8.1f} {p99:8.1f} {refusals:8} {growth / MIB:8.0f}  {times}{mark}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
