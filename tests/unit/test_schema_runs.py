"""The records of runs: what they say of each step, and of what is absent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backlane.schema.runs import ExecutionRun, StepRecord
from backlane.v1 import execution_pb2 as records

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
BEGAN_MS = round(BEGAN.timestamp() * 1000)


def test_a_step_tells_what_is_recorded() -> None:
    step = StepRecord(
        records.Step(
            id="step_1",
            name="ask",
            key="a",
            step_type=records.STEP_TYPE_LLM,
            state=records.STEP_STATE_FAILED,
            input="1",
            error=records.ExecutionError(code="X"),
            duration_ms=5,
            started_at=BEGAN_MS,
            ended_at=BEGAN_MS + 5,
            attempt=2,
        )
    )

    assert (step.step_id, step.name, step.key) == ("step_1", "ask", "a")
    assert (step.step_type, step.state, step.attempt) == ("llm", "Failed", 2)
    assert (step.input, step.output) == ("1", None)
    assert step.error is not None
    assert step.error.code == "X"
    assert step.started_at == BEGAN
    assert step.ended_at == BEGAN + timedelta(milliseconds=5)
    assert step.duration == timedelta(milliseconds=5)
    assert repr(step) == "<StepRecord ask Failed>"
    assert '"stepType":"llm"' in step.to_json()


def test_a_wait_tells_what_it_waits_for_and_a_bare_step_nothing() -> None:
    wait = StepRecord(
        records.Step(
            step_type=records.STEP_TYPE_WAIT,
            wait_reason=records.WAIT_REASON_USER_INPUT,
            wait_until=BEGAN_MS,
            input_key="k",
        )
    )
    assert (wait.step_type, wait.wait_reason, wait.wait_until) == ("wait", "UserInput", BEGAN)
    assert wait.input_key == "k"

    bare = StepRecord(records.Step())
    assert bare.step_type == "function"
    nothing = (bare.key, bare.error, bare.wait_reason, bare.wait_until, bare.input_key)
    assert set(nothing) == {None}
    assert {bare.started_at, bare.ended_at, bare.duration} == {None}


def test_a_run_has_its_steps_in_order_and_goes_to_json_and_back() -> None:
    run = ExecutionRun(
        records.Execution(
            id="exec_1",
            state=records.EXECUTION_STATE_WAITING,
            wait_reason=records.WAIT_REASON_APPROVAL,
            steps={name: records.Step(id=name, name=name) for name in "abc"},
            step_order=["b", "c", "a"],
            started_at=BEGAN_MS,
        )
    )

    assert [step.name for step in run.steps] == ["b", "c", "a"]
    assert (run.execution_id, run.state, run.wait_reason) == ("exec_1", "Waiting", "Approval")
    assert run.started_at == BEGAN
    assert {run.ended_at, run.output, run.error, run.schema_version} == {None}
    assert repr(run) == "<ExecutionRun exec_1 Waiting, 3 steps>"
    assert ExecutionRun.from_json(run.to_json()).proto == run.proto
    with pytest.raises(ValueError, match="must be an object"):
        ExecutionRun.from_json("1")
