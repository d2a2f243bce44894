"""Owns how a check sees the steps of a lease, and makes the steps that the next lease carries."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from backlane.schema.values import from_value
from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import new_execution_id
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from backlane.testing.conformance.ledger import Ledger, Report

KEY: Final = "approve"
"""The name of the wait, and the key of the input that ends it."""
_STEP_ID: Final = re.compile(r"step_[0-9A-Za-z]{27}")
_LAST_ID: Final = "step_aWgEPTl1tmebfsQzFP4bxwgy80V"
"""The id whose 20 bytes are all ones. The digits of ids are in the order of ASCII."""


def document(*names: str, waits: bool = False) -> str:
    """Make the input of a `conformance.steps` that takes these steps, and then waits or not."""
    given: dict[str, object] = {"steps": names}
    if waits:
        given["wait"] = {"name": KEY, "key": KEY}
    return json.dumps(given)


def actions(reports: Sequence[Report]) -> Iterator[api.StepAction]:
    """Yield what happened to the steps of one lease, without what was reported again."""
    last = 0
    for report in reports:
        item = report.item
        assert isinstance(item, api.StepReport)  # noqa: S101  # reports of steps are given
        if item.sequence == 0 or item.sequence > last:
            last = item.sequence
            yield from item.actions


def begun(reports: Sequence[Report]) -> list[api.NewStep]:
    """Return the steps that began, in order."""
    return [each.started for each in actions(reports) if each.HasField("started")]


def completes(report: Report) -> bool:
    """Tell whether a report has the end of a step."""
    item = report.item
    return isinstance(item, api.StepReport) and any(
        each.HasField("completed") for each in item.actions
    )


def recorded(ledger: Ledger, token: str) -> list[records.Step]:
    """Return the steps of a lease as the next lease of the execution carries them.

    Steps that did not end have failed with the attempt. Waits are open.
    """
    steps: dict[str, records.Step] = {}
    for action in actions(ledger.steps_of(token)):
        if action.HasField("started"):
            steps[action.started.step_id] = _begun(action.started)
            end_attempt(steps[action.started.step_id])
        elif action.completed.step_id in steps:
            step = steps[action.completed.step_id]
            step.state = records.STEP_STATE_COMPLETED
            step.output = action.completed.output
            step.ClearField("error")
    for report in ledger.reports_of(token):
        if isinstance(report.item, api.Suspension):
            steps |= {wait.step_id: _waiting(wait) for wait in report.item.waits}
    return list(steps.values())


def version(ledger: Ledger, token: str) -> str:
    """Return the version of the callable that recorded the steps of a lease; empty for none."""
    items = [report.item for report in (*ledger.steps_of(token), *ledger.reports_of(token))]
    said = [item for item in items if isinstance(item, api.StepReport | api.Suspension)]
    return said[-1].schema_version if said else ""


def end_attempt(step: records.Step) -> None:
    """Let a step have failed with its attempt."""
    step.state = records.STEP_STATE_FAILED
    step.ClearField("output")
    step.error.CopyFrom(
        records.ExecutionError(
            category=records.ERROR_CATEGORY_KERNEL_INTERNAL,
            code="ATTEMPT_ENDED",
            message="the attempt ended before the step",
        )
    )


def run_anew(step: records.Step, failed: records.Step) -> records.Step:
    """Return a completed step as another run of one that has failed, with an output of its own."""
    again = store(step)
    again.source.source_type = records.STEP_SOURCE_TYPE_RETRY
    again.source.triggered_by = failed.id
    return again


def store(step: records.Step) -> records.Step:
    """Return a completed step with another id, and with an output that no worker has seen."""
    other = records.Step()
    other.CopyFrom(step)
    other.id = new_execution_id().replace("exec_", "step_0")[:-1]
    other.output = json.dumps({"name": step.name, "nonce": f"stored {other.id}"})
    return other


def end_wait(step: records.Step, value: object) -> None:
    """Let a wait be over, with this input."""
    step.state = records.STEP_STATE_COMPLETED
    step.output = json.dumps(value)


def _begun(new: api.NewStep) -> records.Step:
    return records.Step(
        id=new.step_id,
        step_type=new.step_type,
        name=new.name,
        key=new.key,
        arguments_hash=new.arguments_hash,
        source=new.source if new.HasField("source") else None,
        parent_step_id=new.parent_step_id if new.HasField("parent_step_id") else None,
        attempt=1,
    )


def _waiting(wait: api.WaitPoint) -> records.Step:
    return records.Step(
        id=wait.step_id,
        step_type=records.STEP_TYPE_WAIT,
        name=wait.name,
        key=wait.step_key,
        arguments_hash=wait.arguments_hash,
        state=records.STEP_STATE_RUNNING,
        wait_reason=wait.reason,
        attempt=1,
    )


def result_of(report: Report) -> Mapping[str, object]:
    """Return the output of an execution that has to have completed."""
    demand(report.kind == "complete", f"an execution that should complete ended with {report.kind}")
    assert isinstance(report.item, api.CompleteResult)  # noqa: S101  # as demanded
    output = from_value(report.item.output)
    is_whole = isinstance(output, dict) and isinstance(output.get("outputs"), list)
    demand(is_whole, f"the output is {json.dumps(output)[:100]}, without a list of outputs")
    assert isinstance(output, dict)  # noqa: S101  # as demanded
    return output


def outputs_of(report: Report) -> list[object]:
    """Return the outputs of the steps of an execution that has to have completed."""
    outputs = result_of(report)["outputs"]
    assert isinstance(outputs, list)  # noqa: S101  # as demanded
    return outputs


def stored_outputs(steps: Iterable[records.Step]) -> list[object]:
    """Return the outputs of recorded steps."""
    return [json.loads(step.output) for step in steps]


def demand_completed(steps: Iterable[records.Step], *names: str) -> None:
    """Demand that of some recorded steps these have completed."""
    done = [step.name for step in steps if step.state == records.STEP_STATE_COMPLETED]
    demand(done == list(names), f"the steps {', '.join(names)} were reported as {done}")


def waits_of(report: Report) -> list[api.WaitPoint]:
    """Return the waits of an execution that has to be suspended."""
    demand(report.kind == "suspend", f"an execution that should wait was reported by {report.kind}")
    assert isinstance(report.item, api.Suspension)  # noqa: S101  # as demanded
    return list(report.item.waits)


def demand_new(step_id: str, known: set[str]) -> None:
    """Demand that an id is well formed and not among the known ones, and add it to them."""
    is_formed = _STEP_ID.fullmatch(step_id) and step_id <= _LAST_ID
    demand(is_formed, f"{step_id!r} is no step id: step_ and 20 bytes in 27 base62 digits")
    demand(step_id not in known, f"the step id {step_id} was used before")
    known.add(step_id)
