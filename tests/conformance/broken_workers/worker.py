"""A small worker on the generated stubs that breaks one rule: `python worker.py [--fault NAME]`.

Without a fault it keeps all of them. It shares nothing with the SDK, so that a mistake of the kit
does not hide behind the same mistake there.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import signal
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import grpc

from backlane.v1 import worker_service_pb2 as api
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.conformance.broken_workers.callables import STEPS, Run, call
from tests.conformance.broken_workers.faults import FAULTS
from tests.conformance.broken_workers.reports import (
    completion,
    delay_of,
    end_of,
    failure,
    suspension,
    trimmed,
)
from tests.conformance.broken_workers.steps import Said, Steps, SuspendedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = ("conformance.echo", "conformance.fail", "conformance.hold", "conformance.sum")
RETRYABLE = {grpc.StatusCode.UNAVAILABLE.value[0], grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]}
INVALID = grpc.StatusCode.INVALID_ARGUMENT.value[0]
REFUSED = {INVALID, grpc.StatusCode.OUT_OF_RANGE.value[0]}


class Worker:
    """One program's state. A lock guards all of it."""

    def __init__(self, fault: str | None) -> None:
        self.fault = fault
        self.slots = int(os.environ.get("BACKLANE_CONCURRENCY", "4"))
        self.lease_ms = int(os.environ.get("BACKLANE_LEASE_MS", "30000"))
        self.drain_s = int(os.environ.get("BACKLANE_DRAIN_MS", "30000")) / 1000
        self.lock = threading.RLock()
        self.runs: dict[str, Run] = {}
        self.unanswered: deque[tuple[Run, Said | None]] = deque()
        self.out: queue.SimpleQueue[api.WorkRequest | None] = queue.SimpleQueue()
        self.credit = 0
        self.is_draining = False
        self.is_server_draining = False
        self.is_welcome = False
        self.was_ever_welcome = False
        self.cancel_call: Callable[[], object] = bool
        self.seen: set[str] = set()

    def run(self) -> None:
        """Run until drained."""
        channel = grpc.insecure_channel(
            os.environ["BACKLANE_TARGET"], [("grpc.max_reconnect_backoff_ms", 300)]
        )
        stub = WorkerServiceStub(channel)
        backoff_s = 0.05
        while not self.is_done():
            retry_after_s = self.serve(stub)
            if self.gives_up():
                return
            backoff_s = 0.05 if self.is_welcome else min(1.0, backoff_s * 2)
            if self.fault == "busy-loop":
                backoff_s = 0.0
            pause_s = backoff_s * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
            time.sleep(max(pause_s, 0.0 if self.fault == "ignore-retry-after" else retry_after_s))
        if self.fault == "linger":
            time.sleep(self.drain_s)

    def is_done(self) -> bool:
        """Whether nothing is left to do after a drain."""
        return self.is_draining and not self.runs

    def gives_up(self) -> bool:
        """Whether a stream that ended was the last."""
        return (
            self.fault == "no-reconnect"
            or (self.fault == "impatient" and not self.was_ever_welcome)
            or (self.fault == "leave-when-broken" and self.is_draining)
        )

    def serve(self, stub: WorkerServiceStub) -> float:
        """Serve one stream; return how long its end says to pause, in seconds."""
        with self.lock:
            self.is_welcome = False
            self.out = queue.SimpleQueue()
            self.unanswered.clear()
            self.is_server_draining = False
            if self.fault != "keep-credit":
                self.credit = 0
            hello = self.hello()
        is_patient = self.fault != "impatient"
        call = stub.Work(self.messages(self.out, hello), wait_for_ready=is_patient)
        self.cancel_call = call.cancel
        self.hurry()
        try:
            for response in call:
                self.is_welcome = self.was_ever_welcome = True
                with self.lock:
                    self.receive(response)
        except grpc.RpcError as error:
            end = end_of(error)
            if end.code == INVALID and self.fault != "repeat-faulty":
                self.doubt()
            return delay_of(end)
        finally:
            self.out.put(None)
        return 0.0

    def doubt(self) -> None:
        """Fail leases whose reports were not answered, because one of them ended a stream."""
        with self.lock:
            for run, _ in self.unanswered:
                run.report = failure(run.ref, "the result was faulty")

    def hurry(self) -> None:
        """Stop waiting for an absent server if there is nothing left to report."""
        if self.is_done() and not self.is_welcome and self.fault != "wait-for-server":
            self.cancel_call()

    def hello(self) -> api.WorkRequest:
        """Make the hello, with the leases held."""
        held = [run.ref for run in self.runs.values() if not run.is_lost]
        if self.fault == "forget-reports":
            held = [run.ref for run in self.runs.values() if run.report is None]
        lease_ms = 500 if self.fault == "short-lease" else self.lease_ms
        return api.WorkRequest(
            hello=api.WorkHello(
                worker_id=os.environ.get("BACKLANE_WORKER_NAME", "broken"),
                callables=NAMES if self.fault == "no-steps" else (*NAMES, STEPS),
                tenant_ids=[os.environ["BACKLANE_TENANT"]],
                lease_duration_ms=lease_ms,
                held=held,
            )
        )

    def messages(
        self, out: queue.SimpleQueue[api.WorkRequest | None], hello: api.WorkRequest
    ) -> Iterator[api.WorkRequest]:
        """Yield messages, and heartbeats between them."""
        yield hello
        if self.fault == "second-hello":
            yield hello
        if self.is_draining:
            yield api.WorkRequest(drain=api.WorkDrain())
        while True:
            is_mute = self.fault == "silent" or (self.is_draining and self.fault == "mute-drain")
            try:
                message = out.get(timeout=None if is_mute else self.lease_ms / 3000)
            except queue.Empty:
                message = api.WorkRequest(heartbeat=api.WorkHeartbeat())
            if message is None:
                return
            yield message

    def receive(self, response: api.WorkResponse) -> None:
        """Handle a message of the server."""
        match response.WhichOneof("message"):
            case "welcome":
                self.note_welcome({ref.lease_token for ref in response.welcome.held})
            case "leases":
                self.note_leases(response.leases)
            case "outcomes":
                self.note_outcomes(response.outcomes)
            case "cancels":
                self.cancel(response.cancels)
            case "lost":
                self.lose(response.lost)
            case "pauses" if self.fault != "ignore-pause":
                self.pause(response.pauses)
            case "drain":
                self.is_server_draining = self.fault != "ignore-server-drain"
            case _ if self.fault == "choke-on-unknown":
                os._exit(1)
        self.go_on()

    def cancel(self, cancels: api.WorkCancels) -> None:
        """Stop cancelled executions."""
        for ref in cancels.leases:
            is_known = ref.lease_token in self.runs or self.fault == "trust-late"
            if is_known and self.fault != "ignore-cancel":
                self.runs[ref.lease_token].stop.set()

    def pause(self, pauses: api.WorkPauses) -> None:
        """Yield to pauses at the next step."""
        for ref in pauses.leases:
            if (run := self.runs.get(ref.lease_token)) and run.steps:
                run.steps.is_paused = True

    def note_welcome(self, kept: set[str]) -> None:
        """Continue with the leases that are still held."""
        for token, run in list(self.runs.items()):
            if token not in kept and self.fault != "ignore-welcome":
                self.give_up(run)
            elif run.report is not None:
                self.say(run)
            elif run.said is not None and run.steps is not None:
                if self.fault == "drop-steps":
                    run.said.is_answered.set()
                else:
                    run.steps.again(run.said)
            elif self.fault == "restart-runs":
                run.report = api.WorkRequest()
                run.stop.set()
                self.begin(Run(run.lease))

    def note_leases(self, message: api.WorkLeases) -> None:
        """Run leases."""
        leases = list(message.leases)
        if self.fault == "first-only":
            leases = leases[:1]
        if self.is_draining and self.fault == "drop-late":
            leases = []
        self.credit -= sum(not lease.prefetched for lease in message.leases)
        runs = [Run(lease) for lease in leases]
        acknowledge = api.WorkAcknowledge(leases=[run.ref for run in runs])
        if self.fault != "no-acknowledge" and runs:
            self.out.put(api.WorkRequest(acknowledge=acknowledge))
        for run in runs:
            self.begin(run)

    def begin(self, run: Run) -> None:
        """Run one lease on a thread."""
        execution = run.lease.execution
        if self.fault == "once-only" and execution.execution_id in self.seen:
            return
        self.seen.add(execution.execution_id)
        self.runs[run.lease.lease_token] = run
        if execution.cancel_requested and self.fault != "ignore-flag":
            run.stop.set()
        threading.Thread(target=self.work, args=[run], daemon=True).start()

    def lose(self, lost: api.WorkLost) -> None:
        """Stop lost executions."""
        tokens = {ref.lease_token for ref in lost.leases}
        if self.fault == "lose-by-execution":
            ids = {ref.execution_id for ref in lost.leases}
            tokens = {
                token for token, run in self.runs.items() if run.lease.execution.execution_id in ids
            }
            for token in tokens - {ref.lease_token for ref in lost.leases}:
                self.runs[token].stop.set()
        for token in tokens & self.runs.keys():
            if self.fault == "report-lost":
                self.runs[token].stop.set()
            else:
                self.give_up(self.runs[token])

    def give_up(self, run: Run) -> None:
        """Forget a lease; its slot is free once its callable has ended."""
        run.is_lost = True
        run.stop.set()
        if run.is_over:
            self.runs.pop(run.lease.lease_token, None)
            if self.fault == "drop-crossed":
                self.unanswered.remove((run, None))

    def note_outcomes(self, outcomes: api.WorkOutcomes) -> None:
        """Handle the answers to a message."""
        for outcome in outcomes.outcomes:
            is_last = self.fault == "answer-last"
            run, said = self.unanswered.pop() if is_last else self.unanswered.popleft()
            if said is None:
                self.note_outcome(run, outcome)
            else:
                self.note_steps(run, said, outcome)

    def note_outcome(self, run: Run, outcome: api.LeaseOutcome) -> None:
        """Forget an answered report, or report again after a refusal."""
        code = outcome.status.code
        if code in RETRYABLE and self.fault != "give-up":
            pause_s = delay_of(outcome.status)
            threading.Timer(pause_s, self.say_again, [run]).start()
        elif code in REFUSED and self.fault != "shrug":
            run.report = failure(run.ref, "the result was refused")
            self.say(run)
        elif code and self.fault == "insist":
            self.say(run)
        elif not (self.fault == "keep-suspended" and has_suspended(run)):
            self.runs.pop(run.lease.lease_token, None)

    def note_steps(self, run: Run, said: Said, outcome: api.LeaseOutcome) -> None:
        """Let the callable go on, or report again after a refusal that passes."""
        assert run.steps is not None
        if outcome.status.code in RETRYABLE and self.fault != "give-up":
            threading.Timer(delay_of(outcome.status), run.steps.again, [said]).start()
            return
        run.said = None
        said.is_refused = bool(outcome.status.code)
        said.is_answered.set()

    def say_steps(self, run: Run, said: Said) -> None:
        """Send a report of steps."""
        with self.lock:
            run.said = said
            if self.is_welcome:
                self.unanswered.append((run, said))
                self.out.put(said.message)

    def say_again(self, run: Run) -> None:
        """Send a report again, after a pause."""
        with self.lock:
            self.say(run)

    def say(self, run: Run) -> None:
        """Send a report."""
        assert run.report is not None
        if self.fault == "trim-token":
            run.report = trimmed(run.report)
        self.unanswered.append((run, None))
        self.out.put(run.report)

    def go_on(self) -> None:
        """Give credit for free slots, or end the stream where nothing is left to do."""
        busy = sum(not run.is_over for run in self.runs.values())
        owed = self.slots * (2 if self.fault == "hoard-credit" else 1) - busy - self.credit
        is_first = self.credit == 0 and not self.seen
        may = self.fault != "no-credit" and (self.fault != "no-more-credit" or is_first)
        ends = self.is_draining or self.is_server_draining
        if owed > 0 and may and (not ends or self.fault == "credit-in-drain"):
            self.credit += owed
            prefetch = 1 if self.fault == "begin-prefetched" else 0
            credit = api.WorkCredit(executions=owed, prefetch=prefetch)
            self.out.put(api.WorkRequest(credit=credit))
        if ends:
            waits = self.fault != "no-wait-outcomes" or any(
                run.report is None for run in self.runs.values()
            )
            if not (self.runs and waits):
                self.out.put(None)

    def work(self, run: Run) -> None:
        """Run a callable, and report its result."""
        execution = run.lease.execution
        run.steps = Steps(run.lease, self.fault, partial(self.say_steps, run))
        text = execution.input if execution.HasField("input") else None
        try:
            report = completion(run.ref, call(self.fault, execution.callable_name, text, run))
        except SuspendedError as suspended:
            report = suspension(run.ref, suspended.waits)
        except InterruptedError:
            report = api.WorkRequest(release=api.ReleaseRequest(releases=[run.ref]))
        except Exception as error:  # noqa: BLE001  # whatever it is fails the attempt
            report = failure(run.ref, str(error))
        with self.lock:
            run.is_over = True
            if run.is_lost:
                self.runs.pop(run.lease.lease_token, None)
            elif run.report is None:
                run.report = report
                self.say(run)
            self.go_on()

    def drain(self, *_: object) -> None:
        """Take no more leases, and give back those that outlast the drain time."""
        if self.fault == "abrupt-stop":
            os._exit(0)
        with self.lock:
            if self.is_draining:
                return
            self.is_draining = True
            self.out.put(api.WorkRequest(drain=api.WorkDrain()))
            self.go_on()
            self.hurry()
        if self.fault != "drop-at-drain":
            cut = threading.Timer(self.drain_s, self.release_all)
            cut.daemon = True
            cut.start()

    def release_all(self) -> None:
        """Stop what still runs."""
        with self.lock:
            for run in self.runs.values():
                run.stop.set()


def has_suspended(run: Run) -> bool:
    """Whether a lease ended because its execution waits."""
    return run.report is not None and run.report.HasField("suspend")


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", choices=sorted(FAULTS))
    worker = Worker(parser.parse_args().fault)
    signal.signal(signal.SIGTERM, worker.drain)
    worker.run()


if __name__ == "__main__":
    main()
