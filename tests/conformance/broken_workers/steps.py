"""The steps and waits of the small worker: what it reports of them, and what it runs again."""

from __future__ import annotations

import hashlib
import json
import secrets
import string
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_DIGITS = 27
COMPLETED, FAILED = records.STEP_STATE_COMPLETED, records.STEP_STATE_FAILED


class SuspendedError(Exception):
    """The execution waits, or yields to a pause; `waits` says for what."""

    def __init__(self, *waits: api.WaitPoint) -> None:
        super().__init__()
        self.waits = waits


@dataclass(eq=False)
class Said:
    """A report of steps, until its outcome."""

    report: api.StepReport
    is_answered: threading.Event = field(default_factory=threading.Event)
    is_refused: bool = False

    @property
    def message(self) -> api.WorkRequest:
        """What is sent."""
        return api.WorkRequest(steps=api.ReportStepsRequest(reports=[self.report]))


class Steps:
    """The steps of one lease, for its callable's thread."""

    def __init__(self, lease: api.Lease, fault: str | None, say: Callable[[Said], None]) -> None:
        """Begin with what the lease carries; `say` sends a report."""
        self.lease = lease
        self.fault = fault
        self.is_paused = lease.pause_requested and fault != "ignore-pause-flag"
        self._say = say
        self._sequence = 0
        self._taken: defaultdict[str, int] = defaultdict(int)
        self._places: defaultdict[str, list[records.Step]] = defaultdict(list)
        for step in lease.steps:
            if not self._is_ignored(step):
                self._place(step)

    def _is_ignored(self, step: records.Step) -> bool:
        if step.step_type == records.STEP_TYPE_WAIT:
            return self.fault == ("wait-again" if step.state == COMPLETED else "new-wait")
        is_apart = self.fault == "failed-apart" and step.state == FAILED
        return is_apart or self.fault == "rerun-steps"

    def _place(self, step: records.Step) -> None:
        """Put a recorded step into its place: that of the failed step that it is run for."""
        known = self._places[step.name]
        is_again = step.source.source_type == records.STEP_SOURCE_TYPE_RETRY
        for index, earlier in enumerate(known):
            if is_again and earlier.id == step.source.triggered_by and self.fault != "retry-beside":
                known[index] = step
                return
        known.append(step)

    def _come_to(self, name: str) -> records.Step | None:
        """What is recorded in the place of the next step of a name.

        Raises:
            ValueError: another step is recorded there.
        """
        number = 0 if self.fault == "by-name-only" else self._taken[name]
        self._taken[name] += 1
        known = self._places[name]
        if number >= len(known):
            return None
        if known[number].arguments_hash and self.fault != "any-arguments":
            raise ValueError("the step had other arguments")
        return known[number]

    def run(self, given: dict[str, object]) -> dict[str, object]:
        """Do what the kit's callable does."""
        if self.lease.steps and self.lease.schema_version and self.fault != "any-version":
            raise ValueError("the steps are of another version")
        names, wait = given["steps"], given.get("wait")
        assert isinstance(names, list)
        outputs = [self.step(name) for name in names]
        return {"outputs": outputs, "input": self.wait(wait) if isinstance(wait, dict) else None}

    def step(self, name: str) -> object:
        """Take a step.

        Raises:
            SuspendedError: the execution yields to a pause.
        """
        if self.is_paused:
            raise SuspendedError
        before = self._come_to(name)
        if before and (before.state == COMPLETED or self.fault == "skip-failed"):
            return json.loads(before.output or "null")
        output = {"name": name, "nonce": secrets.token_hex(8)}
        step_id = self._new_id(name)
        new = api.NewStep(step_id=step_id, name=name)
        if before and self.fault != "name-no-other":
            new.source.source_type = records.STEP_SOURCE_TYPE_RETRY
            new.source.triggered_by = before.id
        self._report(
            api.StepAction(started=new),
            api.StepAction(completed=api.StepCompleted(step_id=step_id, output=json.dumps(output))),
        )
        return output

    def _report(self, *actions: api.StepAction) -> None:
        """Report, and wait for the outcome."""
        self._sequence += 1
        report = api.StepReport(
            execution_id=self.lease.execution.execution_id,
            lease_token=self.lease.lease_token,
            actions=actions,
            sequence=0 if self.fault == "no-sequence" else self._sequence,
        )
        said = Said(report)
        self._say(said)
        if self.fault != "hasty":
            said.is_answered.wait()
        if said.is_refused and self.fault != "shrug":
            raise ValueError("a step was refused")

    def again(self, said: Said) -> None:
        """Send a report again."""
        if self.fault == "renumber":
            self._sequence += 1
            said.report.sequence = self._sequence
        self._say(said)

    def wait(self, wait: dict[str, str]) -> object:
        """Wait for an input.

        Raises:
            SuspendedError: it is not there yet.
        """
        before = self._come_to(wait["name"])
        if before and before.state == COMPLETED:
            return json.loads(before.output)
        if self.fault == "hold-waits":
            threading.Event().wait()
        step_id = before.id if before else self._new_id(wait["name"])
        raise SuspendedError(api.WaitPoint(step_id=step_id, name=wait["name"], key=wait["key"]))

    def _new_id(self, name: str) -> str:
        raw = secrets.token_bytes(20)
        if self.fault == "reuse-ids":
            seed = self.lease.execution.execution_id + name
            raw = hashlib.sha256(seed.encode()).digest()[: len(raw)]
        number, digits = int.from_bytes(raw), ""
        while len(digits) < ID_DIGITS:
            number, digit = divmod(number, len(BASE62))
            digits = BASE62[digit] + digits
        return f"step_{'z' if self.fault == 'wide-ids' else digits[0]}{digits[1:]}"
