"""The callables of the small worker, and the runs that they are given."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from tests.conformance.broken_workers.steps import Said, Steps

STEPS = "conformance.steps"
LONG_MS = 1e9


@dataclass(eq=False)
class Run:
    """A lease, from its arrival to the answer of its report."""

    lease: api.Lease
    came_at: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)
    is_lost: bool = False
    is_over: bool = False
    report: api.WorkRequest | None = None
    steps: Steps | None = None
    said: Said | None = None

    @property
    def ref(self) -> api.LeaseRef:
        """The reference to the lease."""
        lease = self.lease
        return api.LeaseRef(
            execution_id=lease.execution.execution_id, lease_token=lease.lease_token
        )


def call(fault: str | None, name: str, text: str | None, run: Run) -> object:
    """Do what a callable of the kit does.

    Raises:
        InterruptedError: it was told to stop.
        SuspendedError: the execution waits.
    """
    if name.endswith("echo"):
        if fault == "text-output":
            return text
        if text is None and fault == "needs-input":
            raise ValueError("no input")
        return None if text is None else json.loads(text)
    given = json.loads(text) if text is not None else {}
    if name == STEPS:
        assert run.steps is not None
        return run.steps.run(given)
    if name.endswith("sum"):
        return {"sum": sum(given["numbers"])}
    if name.endswith("fail"):
        if fault == "swallow-failure":
            return None
        raise ValueError(given)
    hold(fault, run, given.get("ms", LONG_MS) / 1000)
    return None


def hold(fault: str | None, run: Run, seconds: float) -> None:
    """Wait; the attempt's own time ends it too.

    Raises:
        InterruptedError: it was told to stop, or the attempt's time is over.
    """
    left_s = run.lease.attempt_remaining_ms / 1000 + run.came_at - time.monotonic()
    if fault == "own-clock":
        left_s = run.lease.attempt_deadline.ToNanoseconds() / 1e9 - time.time()
    is_late = left_s < seconds and fault != "no-deadline"
    if run.stop.wait(left_s if is_late else seconds) or is_late:
        raise InterruptedError
