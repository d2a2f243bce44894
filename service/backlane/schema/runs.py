"""Owns the records of what happened inside an execution: its run, and the steps of the run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from backlane.schema import json as schema_json
from backlane.schema.records import ExecutionFault
from backlane.v1 import execution_pb2 as records

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, repr=False)
class StepRecord:
    """One step of a run, as it is recorded.

    Attributes:
        proto: the message itself, which must not be changed.
    """

    proto: records.Step

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Return the most important fields."""
        return f"<StepRecord {self.name} {self.state}>"

    @property
    def step_id(self) -> str:
        """The id: `step_` and 27 characters."""
        return self.proto.id

    @property
    def name(self) -> str:
        """The name."""
        return self.proto.name

    @property
    def key(self) -> str | None:
        """What tells it apart from steps of the same name; None if nothing needs to."""
        return self.proto.key or None

    @property
    def state(self) -> str:
        """The state: `Pending`, `Running`, `Completed`, `Failed` or `Skipped`."""
        return schema_json.enum_text(records.StepState.DESCRIPTOR, self.proto.state) or ""

    @property
    def step_type(self) -> str:
        """What kind of work it does, such as `function`, `llm` or `wait`."""
        kind = self.proto.step_type or records.STEP_TYPE_FUNCTION
        return schema_json.enum_text(records.StepType.DESCRIPTOR, kind) or ""

    @property
    def input(self) -> str | None:
        """Its arguments as text, mostly JSON; None if there are none, or they are large."""
        return self.proto.input if self.proto.HasField("input") else None

    @property
    def output(self) -> str | None:
        """Its output as text, mostly JSON; None before it has completed, or without one."""
        return self.proto.output if self.proto.HasField("output") else None

    @property
    def error(self) -> ExecutionFault | None:
        """Why it failed; None if it did not."""
        return ExecutionFault(self.proto.error) if self.proto.HasField("error") else None

    @property
    def attempt(self) -> int:
        """The number of the attempt that began it; 0 if a redrive took the step over."""
        return self.proto.attempt

    @property
    def wait_reason(self) -> str | None:
        """What a wait is for, such as `Approval`; None for other steps."""
        return schema_json.enum_text(records.WaitReason.DESCRIPTOR, self.proto.wait_reason)

    @property
    def input_key(self) -> str | None:
        """The key of the input that ends a wait; None if no input does."""
        return self.proto.input_key if self.proto.HasField("input_key") else None

    @property
    def child_execution_id(self) -> str | None:
        """The child that the step spawned, or that a wait waits for; None without one."""
        proto = self.proto
        return proto.child_execution_id if proto.HasField("child_execution_id") else None

    @property
    def wait_until(self) -> datetime | None:
        """When a wait ends by itself; None if it does not."""
        return _instant(self.proto.wait_until) if self.proto.HasField("wait_until") else None

    @property
    def started_at(self) -> datetime | None:
        """When it began."""
        return _instant(self.proto.started_at) if self.proto.HasField("started_at") else None

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, with any state."""
        return _instant(self.proto.ended_at) if self.proto.HasField("ended_at") else None

    @property
    def duration(self) -> timedelta | None:
        """How long it took; None before its end."""
        if not self.proto.HasField("duration_ms"):
            return None
        return timedelta(milliseconds=self.proto.duration_ms)

    def to_json(self) -> str:
        """Return the schema JSON of the step, canonical and in one line."""
        return schema_json.dumps(self.proto)


@dataclass(frozen=True, slots=True, repr=False)
class ExecutionRun:
    """What happened inside an execution: the schema's `Execution`.

    Attributes:
        proto: the message itself, which must not be changed.
    """

    proto: records.Execution

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Return the most important fields."""
        return f"<ExecutionRun {self.execution_id} {self.state}, {len(self.steps)} steps>"

    @property
    def execution_id(self) -> str:
        """The id of the execution."""
        return self.proto.id

    @property
    def state(self) -> str:
        """The state, such as `Created`, `Running`, `Waiting` or `Completed`."""
        return schema_json.enum_text(records.ExecutionState.DESCRIPTOR, self.proto.state) or ""

    @property
    def wait_reason(self) -> str | None:
        """What the execution waits for, such as `Approval`; None unless it waits."""
        return schema_json.enum_text(records.WaitReason.DESCRIPTOR, self.proto.wait_reason)

    @property
    def schema_version(self) -> str | None:
        """The version of the callable that recorded the steps; None if there is none."""
        return self.proto.schema_version if self.proto.HasField("schema_version") else None

    @property
    def steps(self) -> Sequence[StepRecord]:
        """The steps, in the order in which they were recorded."""
        return [StepRecord(self.proto.steps[step_id]) for step_id in self.proto.step_order]

    @property
    def started_at(self) -> datetime | None:
        """When a worker first leased the execution."""
        return _instant(self.proto.started_at) if self.proto.HasField("started_at") else None

    @property
    def ended_at(self) -> datetime | None:
        """When the run ended."""
        return _instant(self.proto.ended_at) if self.proto.HasField("ended_at") else None

    @property
    def output(self) -> str | None:
        """The output as text: a string as it is, any other value as JSON; None without one."""
        return self.proto.output if self.proto.HasField("output") else None

    @property
    def error(self) -> ExecutionFault | None:
        """Why the run failed; None if it did not."""
        return ExecutionFault(self.proto.error) if self.proto.HasField("error") else None

    def to_json(self) -> str:
        """Return the schema JSON of the run, canonical and in one line."""
        return schema_json.dumps(self.proto)

    @classmethod
    def from_json(cls, text: str) -> ExecutionRun:
        """Read schema JSON.

        Raises:
            ValueError: the text is not the JSON of such a record; the message names the key.
        """
        return cls(schema_json.loads(records.Execution, text))


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
