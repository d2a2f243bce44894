"""A process that leases and completes no-ops: `python -m tests.benchmarks.noop_worker TARGET N`.

It is the plain worker of the tests on its reading thread, and prints what it did as one JSON
line. Only completions that the server answered with OK count.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from subprocess import PIPE, Popen
from typing import Final

from backlane.v1 import worker_service_pb2 as api
from tests.benchmarks.bench import CALLABLE, TENANT
from tests.benchmarks.machine import CHECKOUT
from tests.plain_worker import Options, PlainWorker

ROOM: Final = 4000


@dataclass
class Tally:
    """What a worker did.

    Attributes:
        completed: completions answered OK until at least as many as asked for were.
        refused: completions answered otherwise.
        began_at: when the stream was opened, on the machine's monotonic clock, in seconds.
        ended_at: when `completed` was reached, on the same clock.
    """

    completed: int = 0
    refused: int = 0
    began_at: float = 0.0
    ended_at: float = 0.0


def work(target: str, count: int) -> Tally:
    """Complete at least that many executions."""
    tally = Tally()

    def observe(_: api.WorkRequest, outcomes: api.WorkOutcomes) -> None:
        if tally.ended_at:
            return  # It drains, and what it still completes is not timed.
        accepted = sum(1 for outcome in outcomes.outcomes if outcome.HasField("result"))
        tally.completed += accepted
        tally.refused += len(outcomes.outcomes) - accepted
        if tally.completed >= count:
            tally.ended_at = time.monotonic()
            worker.drain()

    options = Options(worker_id="noop", tenant_ids=[TENANT], threads=0, room=ROOM)
    worker = PlainWorker(target, {CALLABLE: lambda _: None}, options, observe)
    tally.began_at = time.monotonic()
    worker.run()
    return tally


class NoopWorker:
    """The process, started."""

    def __init__(self, target: str, count: int) -> None:
        """Start it; it begins at once and ends by itself."""
        command = [sys.executable, "-m", __name__, target, str(count)]
        self._process = Popen(command, cwd=CHECKOUT, stdout=PIPE, text=True)

    def result(self) -> Tally:
        """Wait for its end and return what it did."""
        printed, _ = self._process.communicate()
        tally = Tally(**json.loads(printed))
        assert tally.refused == 0
        return tally


def completion_rate(target: str, count: int) -> float:
    """Return completions per second of one worker that works off a backlog."""
    tally = NoopWorker(target, count).result()
    return tally.completed / (tally.ended_at - tally.began_at)


if __name__ == "__main__":
    print(json.dumps(asdict(work(sys.argv[1], int(sys.argv[2])))))
