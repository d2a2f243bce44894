"""Owns how a record reads in Python: thin views over the contract's messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from backlane.schema import json as schema_json
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

    from backlane.schema.values import Json


class Status(StrEnum):
    """Where an execution stands. The four after `running` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    UNSPECIFIED = "unspecified"
    """What a newer server may say in a word of its own, and a record that shows its id alone."""

    @property
    def number(self) -> records.BackgroundExecutionStatus.ValueType:
        """Its number in the contract."""
        return records.BackgroundExecutionStatus.Value(f"BACKGROUND_EXECUTION_STATUS_{self.name}")


class Mode(StrEnum):
    """Who waits for an execution, and what is streamed of it."""

    FIRE_AND_FORGET = "fire_and_forget"
    SILENT = "silent"
    DEFERRED = "deferred"


_STATUSES: Final = {status.number: status for status in Status}
_FINISHED: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TIMEOUT})
_SILENT: Final = frozenset({Mode.FIRE_AND_FORGET, Mode.SILENT})


class Actor(NamedTuple):
    """Who brought an execution to its end.

    Attributes:
        kind: `client`, `worker`, `clock`, `engine` or `operator`.
        id: a worker's id, a principal's name; empty for the clock and the engine.
    """

    kind: str
    id: str


@dataclass(frozen=True, slots=True, repr=False)
class ExecutionFault:
    """Why an attempt or an execution went wrong: the schema's `ExecutionError`.

    Attributes:
        proto: the message itself, which must not change any more.
    """

    proto: records.ExecutionError

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Say what matters."""
        return f"<ExecutionFault {self.category} {self.code or ''} {self.message!r}>"

    @property
    def category(self) -> str:
        """What kind of trouble it is, such as `network_error`."""
        return schema_json.enum_text(records.ErrorCategory.DESCRIPTOR, self.proto.category) or ""

    @property
    def message(self) -> str:
        """One or more lines for people."""
        return self.proto.message

    @property
    def code(self) -> str | None:
        """A short name, such as `WORKER_LOST`."""
        return self.proto.code if self.proto.HasField("code") else None

    @property
    def attempt(self) -> int:
        """The attempt it happened in, from 1; 0 where none ever started."""
        return self.proto.attempt

    @property
    def details(self) -> Json:
        """Whatever else was told; None where nothing was."""
        return from_value(self.proto.details) if self.proto.HasField("details") else None

    @property
    def occurred_at(self) -> datetime:
        """When the server took it."""
        return datetime.fromtimestamp(self.proto.occurred_at_ms / 1000, UTC)


@dataclass(frozen=True, slots=True, repr=False)
class BackgroundExecution:
    """One execution as the server showed it; it never changes.

    Attributes:
        proto: the message itself, which must not change any more.
    """

    proto: records.BackgroundExecution

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Say what matters."""
        return f"<BackgroundExecution {self.callable_name} {self.execution_id} {self.status}>"

    @property
    def execution_id(self) -> str:
        """`exec_` and 27 characters."""
        return self.proto.execution_id

    @property
    def tenant_id(self) -> str:
        """Whose it is."""
        return self.proto.tenant_id

    @property
    def callable_name(self) -> str:
        """What it runs."""
        return self.proto.callable_name

    @property
    def status(self) -> Status:
        """Where it stands."""
        return _STATUSES.get(self.proto.status, Status.UNSPECIFIED)

    @property
    def input(self) -> str | None:
        """The input as it was sent; None where there is none, or it was not asked for."""
        return self.proto.input if self.proto.HasField("input") else None

    @property
    def output(self) -> Json:
        """The result as JSON; None before the end, and where it was not asked for."""
        return from_value(self.proto.output) if self.proto.HasField("output") else None

    @property
    def error(self) -> ExecutionFault | None:
        """Why it failed or timed out; None otherwise."""
        return ExecutionFault(self.proto.error) if self.proto.HasField("error") else None

    @property
    def last_error(self) -> ExecutionFault | None:
        """The error of the newest attempt that failed; None if no attempt did.

        An execution that backs off has one, and so has one that completed after a failure.
        """
        return ExecutionFault(self.proto.last_error) if self.proto.HasField("last_error") else None

    @property
    def context(self) -> Mapping[str, str]:
        """The texts that came with the enqueue."""
        return dict(self.proto.context)

    @property
    def metadata(self) -> Mapping[str, Json]:
        """The JSON values that came with the enqueue."""
        return {name: from_value(part) for name, part in self.proto.metadata.items()}

    @property
    def mode(self) -> Mode:
        """Who waits for it, and what is streamed."""
        mode = self.proto.config.mode
        text = schema_json.enum_text(records.BackgroundExecutionMode.DESCRIPTOR, mode)
        return Mode(text) if text else Mode.FIRE_AND_FORGET

    @property
    def priority(self) -> int:
        """0 to 255, higher runs sooner."""
        config = self.proto.config
        return config.priority if config.HasField("priority") else 50

    @property
    def attempt(self) -> int:
        """The newest attempt, from 1; 0 before the first."""
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
        """1 at birth, one more with each change."""
        return self.proto.version

    @property
    def worker_id(self) -> str | None:
        """The worker that holds it, or held it last."""
        return self.proto.worker_id if self.proto.HasField("worker_id") else None

    @property
    def cancel_requested(self) -> bool:
        """Whether its holder was asked to stop."""
        return self.proto.cancel_requested

    @property
    def reason(self) -> str | None:
        """Why it ended, such as `worker_lost`; None before the end."""
        return schema_json.enum_text(records.EndReason.DESCRIPTOR, self.proto.reason)

    @property
    def actor(self) -> Actor | None:
        """Who ended it; None before the end."""
        if not self.proto.HasField("actor"):
            return None
        actor = self.proto.actor
        kind = schema_json.enum_text(records.ActorKind.DESCRIPTOR, actor.kind)
        return Actor(kind or "", actor.id)

    @property
    def dedup_key(self) -> str | None:
        """The key under which the tenant has no other unfinished execution."""
        return self.proto.dedup_key if self.proto.HasField("dedup_key") else None

    @property
    def queued_at(self) -> datetime:
        """When it was enqueued."""
        return self.proto.queued_at.ToDatetime(UTC)

    @property
    def started_at(self) -> datetime | None:
        """When its newest attempt began."""
        return self._instant("started_at")

    @property
    def completed_at(self) -> datetime | None:
        """When it ended, however it did."""
        return self._instant("completed_at")

    @property
    def not_before(self) -> datetime | None:
        """The instant before which it is not leased."""
        return self._instant("not_before")

    @property
    def start_deadline(self) -> datetime | None:
        """The instant that ends it unless it was leased before."""
        return self._instant("start_deadline")

    @property
    def deadline(self) -> datetime | None:
        """The instant that ends it unless it finished before."""
        return self._instant("deadline")

    @property
    def updated_at(self) -> datetime:
        """When it last changed."""
        return self.proto.updated_at.ToDatetime(UTC)

    @property
    def next_attempt_at(self) -> datetime | None:
        """While it backs off: when it becomes ready again."""
        return self._instant("next_attempt_at")

    @property
    def is_finished(self) -> bool:
        """Whether it has ended; nothing follows an end."""
        return self.status in _FINISHED

    @property
    def is_success(self) -> bool:
        """Whether it has ended with a result."""
        return self.status is Status.COMPLETED

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from its newest attempt's start to its end; None unless it has both."""
        started, completed = self.proto.started_at, self.proto.completed_at
        if not (self.proto.HasField("started_at") and self.proto.HasField("completed_at")):
            return None
        return max(0, completed.ToMilliseconds() - started.ToMilliseconds())

    @property
    def is_silent(self) -> bool:
        """Whether nothing of it is streamed."""
        return self.mode in _SILENT

    @property
    def requires_result(self) -> bool:
        """Whether a caller waits for its result."""
        return self.mode is Mode.SILENT

    def to_json(self) -> str:
        """Return the schema JSON of the record, canonical, in one line."""
        return schema_json.dumps(self.proto)

    @classmethod
    def from_json(cls, text: str) -> BackgroundExecution:
        """Read schema JSON.

        Raises:
            ValueError: it is no JSON of such a record; the message names the key.
        """
        return cls(schema_json.loads(records.BackgroundExecution, text))

    def _instant(self, name: str) -> datetime | None:
        if not self.proto.HasField(name):  # type: ignore[arg-type]  # each caller names a field
            return None
        instant: Timestamp = getattr(self.proto, name)
        return instant.ToDatetime(UTC)


@dataclass(frozen=True, slots=True, repr=False)
class QueueStats:
    """How many executions of a tenant are unfinished, by where they stand.

    Attributes:
        proto: the message itself, which must not change any more.
    """

    proto: service.GetQueueStatsResponse

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Count."""
        return (
            f"<QueueStats ready {self.ready}, pending {self.pending}, retrying {self.retrying}, "
            f"running {self.running}>"
        )

    @property
    def ready(self) -> int:
        """Queued and ready for a worker."""
        return self.proto.ready

    @property
    def pending(self) -> int:
        """Queued and waiting for their time."""
        return self.proto.pending

    @property
    def retrying(self) -> int:
        """Queued and backing off."""
        return self.proto.retrying

    @property
    def running(self) -> int:
        """Held under a lease."""
        return self.proto.running

    @property
    def oldest_queued_at(self) -> datetime | None:
        """When the oldest queued one was enqueued; None where nothing is queued."""
        if not self.proto.HasField("oldest_queued_at"):
            return None
        return self.proto.oldest_queued_at.ToDatetime(UTC)

    @property
    def callables(self) -> Mapping[str, service.CallableStats]:
        """The same counts for each callable, at most 1 000 of them."""
        return {stats.callable_name: stats for stats in self.proto.callables}

    def to_json(self) -> str:
        """Return the counts as canonical JSON, in one line."""
        return schema_json.dumps(self.proto)
