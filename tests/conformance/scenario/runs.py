"""Words about runs: the requests that they make, and a run in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.scenario.script import Line, milliseconds, text
from tests.conformance.scenario.view import NONE, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_BYTES = 20
_ID_LETTERS = 27


def step_id(name: str) -> str:
    """The id of the step with this name: the name itself, filled up with zeros."""
    number = int.from_bytes(name.encode().ljust(_ID_BYTES, b"\0"), "big")
    letters = ""
    for _ in range(_ID_LETTERS):
        number, digit = divmod(number, len(_BASE62))
        letters = _BASE62[digit] + letters
    return f"step_{letters}"


def _halves(word: str) -> tuple[str, str | None]:
    """A word `name:rest` in two."""
    name, colon, rest = word.partition(":")
    return name, text(rest) if colon else None


def _action(key: str, value: str) -> work.StepAction | None:
    name, rest = _halves(value)
    known = step_id(name) if "," not in name else ""
    match key:
        case "plan":
            names = [] if value == NONE else value.split(",")
            steps = [work.NewStep(step_id=step_id(one), name=one) for one in names]
            return work.StepAction(planned=work.StepsPlanned(steps=steps))
        case "start":
            return work.StepAction(started=work.NewStep(step_id=known, name=name, input=rest))
        case "complete":
            return work.StepAction(completed=work.StepCompleted(step_id=known, output=rest))
        case "fail":
            error = records.ExecutionError(
                category=records.ERROR_CATEGORY_TOOL_ERROR, message=rest or ""
            )
            return work.StepAction(failed=work.StepFailed(step_id=known, error=error))
        case "skip":
            return work.StepAction(skipped=work.StepSkipped(step_id=known, reason=rest))
    return None


def spawning_step(line: Line) -> work.NewStep | None:
    """The step that a spawn is, if it is one."""
    name = line.get("step", "")
    return work.NewStep(step_id=step_id(name), name=name) if name else None


def report(line: Line, held: work.LeaseRef) -> work.StepReport:
    """What a worker reports of its steps."""
    actions = [_action(word.key, word.value) for word in line.words if word.key is not None]
    return work.StepReport(
        execution_id=held.execution_id,
        lease_token=held.lease_token,
        actions=[action for action in actions if action is not None],
        sequence=int(line.get("sequence", "0")),
    )


def suspension(
    line: Line, held: work.LeaseRef, now_ms: int, ids: Mapping[str, str]
) -> work.Suspension:
    """What a worker waits for. `ids` has the id of every execution by its name."""
    reason = line.get("reason", "unspecified").upper()
    number = records.WaitReason.Value(f"WAIT_REASON_{reason}")
    waits = [word.value for word in line.words if word.key == "wait"]
    return work.Suspension(
        execution_id=held.execution_id,
        lease_token=held.lease_token,
        waits=[_wait(given, number, now_ms, ids) for given in waits],
    )


def _wait(
    given: str,
    reason: records.WaitReason.ValueType,
    now_ms: int,
    ids: Mapping[str, str],
) -> work.WaitPoint:
    name, key, end = [*given.split(":"), "", ""][:3]
    point = work.WaitPoint(step_id=step_id(name), name=name, reason=reason, key=key)
    if end.startswith("@"):
        point.child_execution_id = ids[end[1:]]
    elif end.startswith(("+", "-")):
        point.wait_until.FromMilliseconds(now_ms + milliseconds(end))
    elif end:
        point.wait_ms = milliseconds(end)
    return point


def listed(steps: Iterable[records.Step]) -> str:
    """The steps as `name:state` or `name:state:output`, separated by commas."""
    return ",".join(map(_listed, steps)) or NONE


def _listed(step: records.Step) -> str:
    output = f":{step.output}" if step.HasField("output") else ""
    return f"{step.name}:{name_of(records.StepState, step.state)}{output}"


def shown(run: records.Execution) -> dict[str, object]:
    """A run in words."""
    return {
        "state": name_of(records.ExecutionState, run.state),
        "reason": name_of(records.WaitReason, run.wait_reason) if run.wait_reason else NONE,
        "steps": listed(run.steps[step] for step in run.step_order),
    }
