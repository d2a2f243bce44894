"""Owns the records of the Python API: read-only views of the protocol's messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from backlane.schema import json as schema_json
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from backlane.schema.values import Json


class Status(StrEnum):
    """The status of an execution. The four after `running` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    UNSPECIFIED = "unspecified"
    """A status that only a newer server knows, or the status of a record that has its id only."""

    @property
    def number(self) -> records.BackgroundExecutionStatus.ValueType:
        """The number of the status in the protocol."""
        return records.BackgroundExecutionStatus.Value(f"BACKGROUND_EXECUTION_STATUS_{self.name}")


class Mode(StrEnum):
    """Whether a caller waits for an execution's result, and whether its progress is streamed."""

    FIRE_AND_FORGET = "fire_and_forget"
    SILENT = "silent"
    DEFERRED = "deferred"


_STATUSES: Final = {status.number: status for status in Status}
_FINISHED: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TIMEOUT})
_SILENT: Final = frozenset({Mode.FIRE_AND_FORGET, Mode.SILENT})


class Actor(NamedTuple):
    """Who ended an execution.

    Attributes:
        kind: `client`, `worker`, `clock`, `engine` or `operator`.
        id: the worker's id or the principal's name; empty for the clock and the engine.
    """

    kind: str
    id: str


@dataclass(frozen=True, slots=True, repr=False)
class ExecutionFault:
    """Why an attempt or an execution failed: the schema's `ExecutionError`.

    Attributes:
        proto: the message itself, which must not be changed.
    """

    proto: records.ExecutionError

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Return the most important fields."""
        return f"<ExecutionFault {self.category} {self.code or ''} {self.message!r}>"

    @property
    def category(self) -> str:
        """The kind of the error, such as `network_error`."""
        return schema_json.enum_text(records.ErrorCategory.DESCRIPTOR, self.proto.category) or ""

    @property
    def message(self) -> str:
        """The message, of one or more lines."""
        return self.proto.message

    @property
    def code(self) -> str | None:
        """A short name, such as `WORKER_LOST`."""
        return self.proto.code if self.proto.HasField("code") else None

    @property
    def attempt(self) -> int:
        """The number of the attempt that failed, from 1; 0 if none has started."""
        return self.proto.attempt

    @property
    def details(self) -> Json:
        """Further details as JSON; None if there are none."""
        return from_value(self.proto.details) if self.proto.HasField("details") else None

    @property
    def occurred_at(self) -> datetime:
        """When the server received the error."""
        return datetime.fromtimestamp(self.proto.occurred_at_ms / 1000, UTC)


@dataclass(frozen=True, slots=True, repr=False)
class Attempt:
    """One lease of an execution, and what became of it.

    Attributes:
        proto: the message itself, which must not be changed.
    """

    proto: records.Attempt

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Return the most important fields."""
        return f"<Attempt {self.ordinal} {self.outcome} by {self.worker_id}>"

    @property
    def ordinal(self) -> int:
        """The number of the lease, from 1."""
        return self.proto.ordinal

    @property
    def worker_id(self) -> str:
        """The worker that held the lease."""
        return self.proto.worker_id

    @property
    def outcome(self) -> str:
        """The end of the attempt, such as `failed` or `lease_lost`; `running` before the end."""
        text = schema_json.enum_text(records.AttemptOutcome.DESCRIPTOR, self.proto.outcome)
        return text or "unspecified"

    @property
    def started_at(self) -> datetime:
        """The begin of the lease."""
        return self.proto.started_at.ToDatetime(UTC)

    @property
    def ended_at(self) -> datetime | None:
        """The end of the lease; None while the lease is live."""
        return self.proto.ended_at.ToDatetime(UTC) if self.proto.HasField("ended_at") else None

    @property
    def duration(self) -> timedelta | None:
        """The length of the lease; None while the lease is live."""
        return None if self.ended_at is None else self.ended_at - self.started_at

    @property
    def error(self) -> ExecutionFault | None:
        """The error, if the attempt ended with one."""
        return ExecutionFault(self.proto.error) if self.proto.HasField("error") else None


@dataclass(frozen=True, slots=True, repr=False)
class BackgroundExecution:
    """One execution at the time the server returned it; the record does not change later.

    Attributes:
        proto: the message itself, which must not be changed.
    """

    proto: records.BackgroundExecution

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Return the most important fields."""
        return f"<BackgroundExecution {self.callable_name} {self.execution_id} {self.status}>"

    @property
    def execution_id(self) -> str:
        """The id: `exec_` and 27 characters."""
        return self.proto.execution_id

    @property
    def tenant_id(self) -> str:
        """The tenant of the execution."""
        return self.proto.tenant_id

    @property
    def callable_name(self) -> str:
        """The name of the callable."""
        return self.proto.callable_name

    @property
    def status(self) -> Status:
        """The status."""
        return _STATUSES.get(self.proto.status, Status.UNSPECIFIED)

    @property
    def input(self) -> str | None:
        """The input as it was sent; None if there is none, or the view is basic."""
        return self.proto.input if self.proto.HasField("input") else None

    @property
    def output(self) -> Json:
        """The output as JSON; None before the end, and in a basic view."""
        return from_value(self.proto.output) if self.proto.HasField("output") else None

    @property
    def error(self) -> ExecutionFault | None:
        """The error of an execution that failed or timed out; None otherwise."""
        return ExecutionFault(self.proto.error) if self.proto.HasField("error") else None

    @property
    def last_error(self) -> ExecutionFault | None:
        """The error of the newest attempt that failed; None if no attempt did.

        An execution that backs off has one, and so has one that completed after a failure.
        """
        return ExecutionFault(self.proto.last_error) if self.proto.HasField("last_error") else None

    @property
    def context(self) -> Mapping[str, str]:
        """The texts that were given with the enqueue."""
        return dict(self.proto.context)

    @property
    def metadata(self) -> Mapping[str, Json]:
        """The JSON values that were given with the enqueue."""
        return {name: from_value(part) for name, part in self.proto.metadata.items()}

    @property
    def mode(self) -> Mode:
        """Whether a caller waits for the result, and whether progress is streamed."""
        mode = self.proto.config.mode
        text = schema_json.enum_text(records.BackgroundExecutionMode.DESCRIPTOR, mode)
        return Mode(text) if text else Mode.FIRE_AND_FORGET

    @property
    def priority(self) -> int:
        """The priority, from 0 to 255; a higher one runs sooner."""
        config = self.proto.config
        return config.priority if config.HasField("priority") else 50

    @property
    def attempt(self) -> int:
        """The number of the latest attempt, from 1; 0 before the first."""
        return self.proto.attempt

    @property
    def spent_attempts(self) -> int:
        """The number of attempts that failed or timed out; `max_attempts` limits it."""
        return self.proto.spent_attempts

    @property
    def worker_losses(self) -> int:
        """The number of leases whose worker fell silent; `max_worker_losses` limits it."""
        return self.proto.worker_losses

    @property
    def version(self) -> int:
        """The version: 1 for a new execution, and one more with each change."""
        return self.proto.version

    @property
    def worker_id(self) -> str | None:
        """The worker that has the lease, or had it last."""
        return self.proto.worker_id if self.proto.HasField("worker_id") else None

    @property
    def cancel_requested(self) -> bool:
        """Whether the worker was asked to stop the execution."""
        return self.proto.cancel_requested

    @property
    def paused(self) -> bool:
        """Whether the execution is paused, or its worker was asked to yield to a pause."""
        return self.proto.paused

    @property
    def reason(self) -> str | None:
        """Why the execution ended, such as `worker_lost`; None before the end."""
        return schema_json.enum_text(records.EndReason.DESCRIPTOR, self.proto.reason)

    @property
    def actor(self) -> Actor | None:
        """Who ended the execution; None before the end."""
        if not self.proto.HasField("actor"):
            return None
        actor = self.proto.actor
        kind = schema_json.enum_text(records.ActorKind.DESCRIPTOR, actor.kind)
        return Actor(kind or "", actor.id)

    @property
    def progress(self) -> Json:
        """The newest progress under the live lease: `fraction`, `message` or both; or None."""
        return from_value(self.proto.progress) if self.proto.HasField("progress") else None

    @property
    def depends_on(self) -> Sequence[str]:
        """The ids of the executions that must complete first."""
        return list(self.proto.depends_on)

    @property
    def parent(self) -> str | None:
        """What caused the execution: the id of its parent, or a name that the client gave."""
        return self.proto.parent.parent_id if self.proto.HasField("parent") else None

    @property
    def retried_from(self) -> str | None:
        """The id of the execution that this one redrives."""
        return self.proto.retried_from if self.proto.HasField("retried_from") else None

    @property
    def dedup_key(self) -> str | None:
        """The key under which the tenant has no other unfinished execution."""
        return self.proto.dedup_key if self.proto.HasField("dedup_key") else None

    @property
    def queued_at(self) -> datetime:
        """When the execution was enqueued."""
        return self.proto.queued_at.ToDatetime(UTC)

    @property
    def started_at(self) -> datetime | None:
        """When the latest attempt began."""
        return self._instant("started_at")

    @property
    def completed_at(self) -> datetime | None:
        """When the execution ended, with any status."""
        return self._instant("completed_at")

    @property
    def not_before(self) -> datetime | None:
        """The instant before which the execution is not leased."""
        return self._instant("not_before")

    @property
    def start_deadline(self) -> datetime | None:
        """The instant by which the execution has to be leased; otherwise it times out."""
        return self._instant("start_deadline")

    @property
    def deadline(self) -> datetime | None:
        """The instant by which the execution has to finish; otherwise it times out."""
        return self._instant("deadline")

    @property
    def updated_at(self) -> datetime:
        """When the record last changed."""
        return self.proto.updated_at.ToDatetime(UTC)

    @property
    def next_attempt_at(self) -> datetime | None:
        """When the next attempt may start, while the execution waits for its retry delay."""
        return self._instant("next_attempt_at")

    @property
    def is_finished(self) -> bool:
        """Whether the execution has ended, which is final."""
        return self.status in _FINISHED

    @property
    def is_success(self) -> bool:
        """Whether the execution has completed."""
        return self.status is Status.COMPLETED

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from the latest attempt's start to the end; None unless both are known."""
        started, completed = self.proto.started_at, self.proto.completed_at
        if not (self.proto.HasField("started_at") and self.proto.HasField("completed_at")):
            return None
        return max(0, completed.ToMilliseconds() - started.ToMilliseconds())

    @property
    def is_silent(self) -> bool:
        """Whether no progress is streamed."""
        return self.mode in _SILENT

    @property
    def requires_result(self) -> bool:
        """Whether a caller waits for the result."""
        return self.mode is Mode.SILENT

    def to_json(self) -> str:
        """Return the schema JSON of the record, canonical and in one line."""
        return schema_json.dumps(self.proto)

    @classmethod
    def from_json(cls, text: str) -> BackgroundExecution:
        """Read schema JSON.

        Raises:
            ValueError: the text is not the JSON of such a record; the message names the key.
        """
        return cls(schema_json.loads(records.BackgroundExecution, text))

    def _instant(self, name: str) -> datetime | None:
        if not self.proto.HasField(name):  # type: ignore[arg-type]  # each caller names a field
            return None
        instant: Timestamp = getattr(self.proto, name)
        return instant.ToDatetime(UTC)
