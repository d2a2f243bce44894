"""Task records in Python: their properties, their JSON, and fields without a value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from backlane.schema.task import TaskRecord, TaskState
from backlane.schema.values import to_value
from backlane.v1 import execution_pb2 as records

BORN_MS = 1_767_225_600_005
BORN = datetime(2026, 1, 1, 0, 0, 0, 5000, tzinfo=UTC)


def task(**fields: Any) -> TaskRecord:  # noqa: ANN401  # those of the message
    return TaskRecord(records.TaskRecord(**fields))


@pytest.mark.parametrize("state", [state for state in TaskState if state != "unspecified"])
def test_every_state_has_the_number_of_its_name(state: TaskState) -> None:
    number = records.TaskState.Value(f"TASK_STATE_{state.name}")

    assert task(state=number).state is state


def test_python_knows_every_state_of_the_contract() -> None:
    assert len(TaskState) == len(records.TaskState.keys())


@pytest.mark.parametrize(
    ("state", "is_terminal", "is_success", "is_failure"),
    [
        ("PENDING", False, False, False),
        ("READY", False, False, False),
        ("RUNNING", False, False, False),
        ("RETRYING", False, False, False),
        ("COMPLETED", True, True, False),
        ("FAILED", False, False, True),
        ("CANCELLED", True, False, False),
        ("SKIPPED", True, False, False),
        ("DEAD_LETTERED", True, False, True),
        ("UNSPECIFIED", False, False, False),
    ],
)
def test_the_table_of_states_is_the_schemas(
    state: str,
    is_terminal: bool,  # noqa: FBT001  # pytest names it
    is_success: bool,  # noqa: FBT001
    is_failure: bool,  # noqa: FBT001
) -> None:
    shown = task(state=records.TaskState.Value(f"TASK_STATE_{state}"))

    assert (shown.is_terminal, shown.is_success) == (is_terminal, is_success)
    assert shown.is_failure == is_failure


def test_a_task_shows_what_it_has() -> None:
    shown = task(
        id="exec_1",
        state=records.TASK_STATE_COMPLETED,
        attempts=2,
        created_at=BORN_MS,
        updated_at=BORN_MS,
        started_at=BORN_MS,
        finished_at=BORN_MS,
        output=to_value({"n": 1}),
        error="first",
        metadata={"user": "ada"},
    )

    assert (shown.id, shown.attempts, shown.output) == ("exec_1", 2, {"n": 1})
    assert (shown.error, shown.metadata) == ("first", {"user": "ada"})
    assert {shown.created_at, shown.updated_at, shown.started_at, shown.finished_at} == {BORN}
    assert repr(shown) == "<TaskRecord exec_1 completed>"
    assert TaskRecord.from_json(shown.to_json()) == shown


def test_a_task_without_them_has_no_times_output_error_and_metadata() -> None:
    shown = task(id="exec_1", state=records.TASK_STATE_PENDING, created_at=BORN_MS)

    assert (shown.started_at, shown.finished_at, shown.output, shown.error) == (None,) * 4
    assert shown.metadata == {}
    assert shown.to_json() == (
        f'{{"attempts":0,"createdAt":{BORN_MS},"id":"exec_1","state":"pending","updatedAt":0}}'
    )


def test_json_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="status is not a key of TaskRecord"):
        TaskRecord.from_json('{"status":"queued"}')
