"""The fields of an execution in the language of scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from google.protobuf import json_format

from backlane.v1 import execution_pb2 as records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

NONE = "none"
_INSTANTS: Final = {
    "queued": "queued_at",
    "updated": "updated_at",
    "started": "started_at",
    "next_attempt": "next_attempt_at",
    "completed": "completed_at",
}
_NUMBERS = {"attempt", "version"}
_TASK_INSTANTS: Final = {
    "created": "created_at",
    "updated": "updated_at",
    "started": "started_at",
    "finished": "finished_at",
}


class Enum(Protocol):
    """A generated enum."""

    def Name(self, number: Any, /) -> str:  # noqa: ANN401, N802  # as protobuf has it
        """The name of a value."""


def name_of(enum: Enum, number: int) -> str:
    """An enum's value without its prefix, in lower case."""
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    return enum.Name(number).removeprefix(prefix).lower()


def instant(at: Timestamp, now_ms: int) -> str:
    """An instant seen from now."""
    return f"{at.ToMilliseconds() - now_ms:+d}ms"


def status(number: int) -> str:
    """A status by its name."""
    return name_of(records.BackgroundExecutionStatus, number)


def show(record: records.BackgroundExecution, key: str, now_ms: int) -> object:
    """The value of a field, `none` where it is absent; an output as the JSON it stands for."""
    if key in _INSTANTS:
        at = {field.name: value for field, value in record.ListFields()}.get(_INSTANTS[key])
        return NONE if at is None else instant(at, now_ms)
    if key in _NUMBERS:
        return str(getattr(record, key))
    if key.startswith("error."):
        return _show_error(record, key.removeprefix("error."))
    return _SHOWN[key](record)


def show_task(record: records.TaskRecord, key: str, now_ms: int) -> object:
    """The value of a field of a task record, as `show` has it."""
    if key in _TASK_INSTANTS:
        at_ms = {field.name: value for field, value in record.ListFields()}.get(_TASK_INSTANTS[key])
        return NONE if at_ms is None else f"{at_ms - now_ms:+d}ms"
    return _TASK_SHOWN[key](record)


def _progress(record: records.BackgroundExecution, key: str) -> str:
    parts = record.progress.struct_value
    return str(parts[key]) if key in parts else NONE


def _show_error(record: records.BackgroundExecution, key: str) -> str:
    error = record.error
    if not record.HasField("error") or (key == "code" and not error.HasField("code")):
        return NONE
    if key == "category":
        return name_of(records.ErrorCategory, error.category)
    return str(getattr(error, key))


def _actor(record: records.BackgroundExecution) -> str:
    if not record.HasField("actor"):
        return NONE
    return actor(record.actor)


def actor(by: records.Actor) -> str:
    """Who caused a change."""
    kind = name_of(records.ActorKind, by.kind)
    return f"{kind}:{by.id}" if by.id else kind


def _duration(record: records.BackgroundExecution) -> str:
    if not (record.HasField("started_at") and record.HasField("completed_at")):
        return NONE
    return f"{record.completed_at.ToMilliseconds() - record.started_at.ToMilliseconds()}ms"


def _output(record: records.BackgroundExecution) -> object:
    return json_format.MessageToDict(record.output) if record.HasField("output") else NONE


def _reason(record: records.BackgroundExecution) -> str:
    return name_of(records.EndReason, record.reason) if record.reason else NONE


_TASK_SHOWN: Final[Mapping[str, Callable[[records.TaskRecord], object]]] = {
    "attempts": lambda record: str(record.attempts),
    "error": lambda record: record.error if record.HasField("error") else NONE,
    "output": lambda record: (
        json_format.MessageToDict(record.output) if record.HasField("output") else NONE
    ),
    "state": lambda record: name_of(records.TaskState, record.state),
}
_SHOWN: Final[Mapping[str, Callable[[records.BackgroundExecution], object]]] = {
    "actor": _actor,
    "paused": lambda record: str(record.paused).lower(),
    "callable": lambda record: record.callable_name,
    "cancel_requested": lambda record: str(record.cancel_requested).lower(),
    "duration": _duration,
    "output": _output,
    "progress.fraction": lambda record: _progress(record, "fraction"),
    "progress.message": lambda record: _progress(record, "message"),
    "retried_from": lambda record: record.retried_from or NONE,
    "priority": lambda record: str(record.config.priority),
    "reason": _reason,
    "status": lambda record: status(record.status),
    "tenant": lambda record: record.tenant_id,
    "worker": lambda record: record.worker_id if record.HasField("worker_id") else NONE,
}
