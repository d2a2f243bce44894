"""`batch`: durable executions per second through `EnqueueBatch`, 500 at a time, 4 in flight.

The client sends bytes encoded before and counts answers without decoding them, since it shares
the machine with the server and only the server is to be measured.
"""

from collections.abc import Iterator
from typing import Final

from tests.benchmarks.bench import BATCH, INPUT_BYTES, TENANT, Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.requests import enqueue_batches
from tests.plain_client import PlainClient

RATE_TARGET: Final = 150_000


def run(bench: Bench) -> Iterator[Figure]:
    """Enqueue in rounds into one server, and yield the rate."""
    rounds, executions = bench.pick(7, 2), bench.pick(150_000, 5_000)
    with bench.serve() as server:
        enqueue_batches(server.target, executions // 10 // BATCH * BATCH)
        with bench.account("EnqueueBatch", server):
            rates = [enqueue_batches(server.target, executions) for _ in range(rounds)]
        check_depth(server.target, executions // 10 // BATCH * BATCH + rounds * executions)
    name = f"EnqueueBatch, {BATCH} of {INPUT_BYTES} bytes"
    yield Figure.of_rounds(name, rates, "executions/s", at_least=RATE_TARGET)


def check_depth(target: str, expected: int) -> None:
    """Compare the queue's depth with what was sent, since answers were not decoded.

    Raises:
        AssertionError: they differ, and the figures mean nothing.
    """
    with PlainClient(target, TENANT) as client:
        assert client.queue_stats().ready == expected
