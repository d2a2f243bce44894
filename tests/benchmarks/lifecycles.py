"""`lifecycles`: executions leased and completed per second by one worker on one `Work` stream.

Once from a backlog that is there before, and once while a producer enqueues batches as fast as
it can. The handler does nothing; what is measured is the service and the plain worker.
"""

import time
from collections.abc import Iterator
from typing import Final

from tests.benchmarks.bench import CALLABLE, TENANT, Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.noop_worker import NoopWorker, completion_rate
from tests.benchmarks.requests import enqueue_batches
from tests.plain_client import PlainClient

RATE_TARGET: Final = 50_000
START_S: Final = 30.0


def run(bench: Bench) -> Iterator[Figure]:
    """Measure both ways in rounds, and yield their rates."""
    rounds, count = bench.pick(5, 1), bench.pick(150_000, 5_000)
    backlog, concurrent = [], []
    with bench.serve() as server:
        for _ in range(rounds):
            enqueue_batches(server.target, count)
            with bench.account("backlog", server):
                backlog.append(completion_rate(server.target, count))
            with bench.account("concurrent", server):
                concurrent.append(_concurrent_rate(server.target, count))
    yield Figure.of_rounds("backlog", backlog, "lifecycles/s", at_least=RATE_TARGET)
    yield Figure.of_rounds("while enqueued", concurrent, "lifecycles/s", at_least=RATE_TARGET)


def _concurrent_rate(target: str, count: int) -> float:
    """Return lifecycles per second from the first enqueue to the last completion."""
    worker = NoopWorker(target, count)
    with PlainClient(target, TENANT) as client:
        # Completed before the clock starts, so that the worker's own start is not measured.
        first = client.enqueue(CALLABLE).execution.execution_id
        assert client.wait([first], timeout_s=START_S).satisfied
    began = time.monotonic()
    enqueue_batches(target, count)
    tally = worker.result()
    return tally.completed / (tally.ended_at - began)
