"""A process that leases and completes no-ops: `python -m tests.benchmarks.noop_worker TARGET N`.

It is the plain worker of the tests on its reading thread, and prints what it did as one JSON
line. Only completions that the server answered with OK count. A third argument, `*`, has it serve
all callables of all tenants.
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
from tests.plain_worker import Handler, Options, PlainWorker

ROOM: Final = 4000
ALL: Final = "*"


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


class Handlers(dict[str, Handler]):
    """What does nothing, for every callable; the keys are what the worker offers."""

    def __missing__(self, callable_name: str) -> Handler:
        return lambda _: None


def work(target: str, count: int, offered: str) -> Tally:
    """Complete at least that many executions of the callables that are offered."""
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

    tenants = () if offered == ALL else (TENANT,)
    options = Options(worker_id="noop", tenant_ids=tenants, threads=0, room=ROOM)
    worker = PlainWorker(target, Handlers({offered: lambda _: None}), options, observe)
    tally.began_at = time.monotonic()
    worker.run()
    return tally


class NoopWorker:
    """The process, started."""

    def __init__(self, target: str, count: int, offered: str = CALLABLE) -> None:
        """Start it; it begins at once and ends by itself."""
        command = [sys.executable, "-m", __name__, target, str(count), offered]
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
    words = [*sys.argv[1:], CALLABLE]
    print(json.dumps(asdict(work(words[0], int(words[1]), words[2]))))
