"""Owns the order of events in the demo: enqueue, kill a worker, kill the server, compare."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from backlane.cli.demo.callables import CALLABLE, Question
from backlane.cli.demo.verdict import Sent, Verdict, judge
from backlane.cli.demo.worker import LEASE_S, SLOTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backlane.cli.demo.crew import Crew, Worker
    from backlane.cli.demo.files import Subject
    from backlane.cli.demo.narrator import Narrator
    from backlane.client import Client
    from backlane.testing.server import ServerProcess

TENANT: Final = "demo"
WORKERS: Final = 2
WORK_S: Final = 4.0
"""The least time that the work takes, in seconds: enough to kill something meanwhile."""
PACE_S_MAX: Final = 1.0
KILL_WORKER_AT: Final = 0.2
KILL_SERVER_AT: Final = 0.4
"""The share of the work that is done before each kill."""
FEW: Final = 50
"""With fewer files the kills do not wait for a share, only for work to be leased."""
POLL_S: Final = 0.005
"""How often the counts are looked at, in seconds: no call waits for a share of the executions to be
done. With few files the kills have to come within their work."""
STALL_S: Final = 120.0
"""The demo gives up after this many seconds without progress."""


class DemoFailedError(Exception):
    """The demo could not be finished; the message says why in one line."""


@dataclass
class Story:
    """One run of the demo against a server that is up."""

    server: ServerProcess
    client: Client
    crew: Crew
    narrator: Narrator
    sent: dict[str, Sent] = field(default_factory=dict)
    _done: int = 0
    _leased: int = 0
    _moved_at: float = field(default_factory=time.monotonic)

    def play(self, subjects: Sequence[Subject]) -> Verdict:
        """Enqueue all files, kill a worker and the server meanwhile, and compare the results.

        Raises:
            DemoFailedError: the work made no progress, or ended before anything was killed.
        """
        self._enqueue(subjects)
        began = time.monotonic()
        team = [self.crew.hire() for _ in range(WORKERS)]
        self.narrator.say(f"{WORKERS} workers started, {SLOTS} executions at once each")
        self.narrator.begin("working", len(self.sent))
        self._moved_at = began
        self._kill_a_worker(team)
        self._kill_the_server()
        self._wait_for_all()
        seconds = time.monotonic() - began
        self.narrator.end()
        if not self.crew.dismiss_all():
            raise DemoFailedError("a worker did not drain cleanly")
        return self._compare(seconds)

    def _enqueue(self, subjects: Sequence[Subject]) -> None:
        began = time.monotonic()
        pace_s = min(PACE_S_MAX, WORK_S * WORKERS * SLOTS / len(subjects))
        # With many files the work takes long enough without a pause for each.
        pace_s = pace_s if pace_s > POLL_S else 0.0
        questions = [Question(item.path, pace_s) for item in subjects]
        handles = self.client.enqueue_many(CALLABLE, questions)
        self.sent = {
            handle.execution_id: Sent(item, question)
            for handle, item, question in zip(handles, subjects, questions, strict=True)
        }
        seconds = time.monotonic() - began
        self.narrator.say(f"{len(self.sent)} executions enqueued in {seconds:.1f} s")

    def _kill_a_worker(self, team: Sequence[Worker]) -> None:
        self._wait_for_share(KILL_WORKER_AT)
        for worker in itertools.cycle(team):
            # Frozen first, so that it still holds the counted leases when it is killed.
            worker.freeze()
            leases = self._count_leases(worker.worker_id)
            if leases:
                newcomer = self.crew.replace(worker)
                self.narrator.say(
                    f"{worker.worker_id} killed (SIGKILL) while it held {leases} leases, which "
                    f"expire in about {LEASE_S:.0f} s; {newcomer.worker_id} replaces it"
                )
                return
            worker.thaw()
            self._wait_for_share(KILL_WORKER_AT)

    def _kill_the_server(self) -> None:
        self._wait_for_share(KILL_SERVER_AT)
        leases, began = self._leased, time.monotonic()
        self.server.restart()
        seconds = time.monotonic() - began
        self.narrator.say(
            f"server killed (SIGKILL) while workers held {leases} leases; "
            f"it was back on {self.server.target} after {seconds:.1f} s"
        )

    def _wait_for_share(self, share: float) -> None:
        """Wait until that share of the work is done and something is leased."""
        goal = share * len(self.sent) if len(self.sent) >= FEW else 0
        while self._look() and (self._done < goal or not self._leased):
            time.sleep(POLL_S)
        if not self._leased:
            raise DemoFailedError("the work was done before anything could be killed")

    def _wait_for_all(self) -> None:
        while self._look():
            time.sleep(POLL_S)
        self.client.wait(self.sent, timeout=STALL_S)

    def _look(self) -> int:
        """Update the progress, and return how many executions are unfinished."""
        stats = self.client.stats()
        unfinished = stats.ready + stats.pending + stats.retrying + stats.running
        done, now = len(self.sent) - unfinished, time.monotonic()
        if done != self._done:
            self._moved_at = now
        elif now > self._moved_at + STALL_S:
            raise DemoFailedError(f"nothing has moved for {STALL_S:.0f} s")
        self._done, self._leased = done, stats.running
        self.narrator.advance_to(done)
        return unfinished

    def _count_leases(self, worker_id: str) -> int:
        running = self.client.list(status="running")
        return sum(1 for record in running if record.worker_id == worker_id)

    def _compare(self, seconds: float) -> Verdict:
        self.narrator.begin("comparing", len(self.sent))
        found = self.client.list(full=True)
        accepted = self.crew.accepted_completions()
        verdict = judge(self.sent, found, accepted, self.narrator.advance_to)
        verdict.seconds = seconds
        self.narrator.end()
        return verdict
