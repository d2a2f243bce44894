"""`pickup`: how long a lone execution takes from its producer to an idle worker.

From just before a unary `Enqueue` is sent until the worker has the lease in hand. Producer and
worker are processes of their own and read the machine's monotonic clock, which is one for both.
Between two of them goes one call to an idle bare echo, for comparison: from just before it is sent
until its answer is there.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import IO, Final

import grpc

from backlane.v1 import worker_service_pb2 as worker_api
from tests.benchmarks.bench import CALLABLE, TENANT, Bench
from tests.benchmarks.echo_server import ECHO, echo_server
from tests.benchmarks.figures import Figure
from tests.benchmarks.machine import CHECKOUT
from tests.benchmarks.requests import enqueue_request
from tests.plain_client import PlainClient
from tests.plain_worker import Options, PlainWorker

MEDIAN_TARGET_MS: Final = 1.5
P99_TARGET_MS: Final = 5.0
ECHOES_TARGET: Final = 2.2
"""The most idle echoes that the median pick-up takes as long as."""
PAUSE_S: Final = (0.001, 0.006)
"""The pauses between two calls, so that nothing is in flight and no timer is matched."""
WARM_UP: Final = 50


def run(bench: Bench) -> Iterator[Figure]:
    """Enqueue one after the other, with an echo between two, and yield the quantiles."""
    count = bench.pick(3000, 100)
    with (
        bench.serve() as server,
        echo_server() as (echo_target, echo_pid),
        grpc.insecure_channel(echo_target) as channel,
        _worker(server.target) as (received, worker),
    ):
        request = enqueue_request().SerializeToString()
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(ECHO)

        def echo() -> None:
            call(request)

        for _ in _times(server.target, received, echo, WARM_UP):
            pass
        with bench.account("one at a time", server, worker, echo_pid):
            times_ms, echoes_ms = zip(*_times(server.target, received, echo, count), strict=True)
    cuts = statistics.quantiles(times_ms, n=100)
    bare = Figure(name="idle echo, p50", value=statistics.median(echoes_ms), unit="ms")
    yield bare
    yield Figure(name="p50", value=cuts[49], unit="ms", at_most=MEDIAN_TARGET_MS)
    yield Figure(name="p50 ÷ echo", value=cuts[49] / bare.value, unit="", at_most=ECHOES_TARGET)
    yield Figure(name="p99", value=cuts[98], unit="ms", at_most=P99_TARGET_MS)
    yield Figure(name="longest", value=max(times_ms), unit="ms")


def _times(
    target: str, received: IO[str], echo: Callable[[], None], count: int
) -> Iterator[tuple[float, float]]:
    """Yield milliseconds from each enqueue to its lease, and of an echo after it."""
    pauses = random.Random(0)  # noqa: S311  # no secret
    with PlainClient(target, TENANT) as client:
        for number in range(count):
            sent_ns = time.monotonic_ns()
            client.enqueue(CALLABLE, str(number))
            text, _, at_ns = received.readline().partition(" ")
            assert text == str(number)
            time.sleep(pauses.uniform(*PAUSE_S))
            called_ns = time.monotonic_ns()
            echo()
            echo_ms = (time.monotonic_ns() - called_ns) / 1e6
            time.sleep(pauses.uniform(*PAUSE_S))
            yield (int(at_ns) - sent_ns) / 1e6, echo_ms


@contextmanager
def _worker(target: str) -> Iterator[tuple[IO[str], int]]:
    """Run the worker's process; yield what it prints, input and time of each lease, and its id."""
    command = [sys.executable, "-m", __name__, target]
    with Popen(command, cwd=CHECKOUT, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout, process.pid
        process.terminate()


def _work(target: str) -> None:
    def note(lease: worker_api.Lease) -> None:
        print(lease.execution.input, time.monotonic_ns(), flush=True)

    options = Options(worker_id="pickup", tenant_ids=[TENANT], threads=0)
    PlainWorker(target, {CALLABLE: note}, options).run()


if __name__ == "__main__":
    _work(sys.argv[1])
