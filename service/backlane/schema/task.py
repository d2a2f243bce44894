"""Owns the task record of the Python API: an execution as a unit of durability."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from backlane.schema import json as schema_json
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backlane.schema.values import Json


class TaskState(StrEnum):
    """The state of a task."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    """No record shows it: the same commit leads on to `dead_lettered`."""
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    DEAD_LETTERED = "dead_lettered"
    UNSPECIFIED = "unspecified"
    """A state that only a newer server knows."""


_TERMINAL: Final = frozenset(
    {TaskState.COMPLETED, TaskState.CANCELLED, TaskState.SKIPPED, TaskState.DEAD_LETTERED}
)
_FAILURES: Final = frozenset({TaskState.FAILED, TaskState.DEAD_LETTERED})


@dataclass(frozen=True, slots=True, repr=False)
class TaskRecord:
    """One execution as a task, at the time the server returned it.

    Attributes:
        proto: the message itself, which must not be changed.
    """

    proto: records.TaskRecord

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Return the most important fields."""
        return f"<TaskRecord {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """The id of the execution."""
        return self.proto.id

    @property
    def state(self) -> TaskState:
        """The state."""
        text = schema_json.enum_text(records.TaskState.DESCRIPTOR, self.proto.state)
        return TaskState(text or TaskState.UNSPECIFIED)

    @property
    def attempts(self) -> int:
        """The number of the newest attempt, 0 before the first."""
        return self.proto.attempts

    @property
    def created_at(self) -> datetime:
        """When the execution was enqueued."""
        return _instant(self.proto.created_at)

    @property
    def updated_at(self) -> datetime:
        """When the record last changed."""
        return _instant(self.proto.updated_at)

    @property
    def started_at(self) -> datetime | None:
        """When the newest attempt started."""
        return _instant(self.proto.started_at) if self.proto.HasField("started_at") else None

    @property
    def finished_at(self) -> datetime | None:
        """When the execution ended."""
        return _instant(self.proto.finished_at) if self.proto.HasField("finished_at") else None

    @property
    def output(self) -> Json:
        """The output as JSON; None if there is none, and if it is null."""
        return from_value(self.proto.output) if self.proto.HasField("output") else None

    @property
    def error(self) -> str | None:
        """The message of the newest error, even of an attempt that another one followed."""
        return self.proto.error if self.proto.HasField("error") else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata: a string is itself, any other value is its JSON."""
        return dict(self.proto.metadata)

    @property
    def is_terminal(self) -> bool:
        """Whether no other state can follow."""
        return self.state in _TERMINAL

    @property
    def is_success(self) -> bool:
        """Whether the execution has completed."""
        return self.state is TaskState.COMPLETED

    @property
    def is_failure(self) -> bool:
        """Whether the execution has failed or timed out."""
        return self.state in _FAILURES

    def to_json(self) -> str:
        """Return the schema JSON of the record, canonical and in one line."""
        return schema_json.dumps(self.proto)

    @classmethod
    def from_json(cls, text: str) -> TaskRecord:
        """Read schema JSON.

        Raises:
            ValueError: the text is not the JSON of such a record; the message names the key.
        """
        return cls(schema_json.loads(records.TaskRecord, text))


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
