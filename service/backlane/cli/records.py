"""Owns how executions are shown: as a row of a table, or with all their fields."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import typer

from backlane.cli.durations import show_duration, show_instant
from backlane.cli.tables import print_fields, print_table
from backlane.schema import json as schema_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from backlane.cli.tables import Fields
    from backlane.schema.records import BackgroundExecution, ExecutionFault
    from backlane.schema.values import Json

HEADINGS: Final = ("id", "status", "callable", "age", "note")
NOTE_CHARACTERS_MAX: Final = 100


def print_rows(executions: Iterable[BackgroundExecution]) -> None:
    """Print a table of executions."""
    print_table(HEADINGS, [row(execution) for execution in executions])


def print_record(execution: BackgroundExecution, *, as_json: bool) -> None:
    """Print all fields of one execution."""
    if as_json:
        typer.echo(execution.to_json())
    else:
        print_fields(fields(execution))


def row(execution: BackgroundExecution) -> list[str]:
    """Return the cells of an execution's row."""
    if not execution.proto.status:
        # It did not fit into the server's reply, which has its id only.
        return [execution.execution_id, *"-" * (len(HEADINGS) - 2), "see `backlane get`"]
    return [
        execution.execution_id,
        execution.status,
        execution.callable_name,
        _age(execution.queued_at),
        ", ".join(filter(None, [_attempts(execution), note(execution)])),
    ]


def _attempts(execution: BackgroundExecution) -> str:
    return f"attempt {execution.attempt}" if execution.attempt > 1 else ""


def note(execution: BackgroundExecution) -> str:
    """Summarize in a few words what matters at the execution's status."""
    if execution.error is not None:
        return cut(fault_line(execution.error))
    if execution.is_success:
        return _took(execution)
    if execution.is_finished:
        return (execution.reason or "").replace("_", " ")
    if execution.cancel_requested or execution.paused:
        return "stop requested" if execution.cancel_requested else "paused"
    if execution.started_at is not None and execution.status == "running":
        return f"on {execution.worker_id}"
    due = execution.next_attempt_at or execution.not_before
    return f"due in {_until(due)}" if due is not None and due > datetime.now(UTC) else ""


def cut(text: str) -> str:
    """Return a text in one line, and not too long for a note."""
    text = " ".join(text.split())
    return text if len(text) <= NOTE_CHARACTERS_MAX else text[: NOTE_CHARACTERS_MAX - 1] + "…"


def fault_line(fault: ExecutionFault) -> str:
    """Describe an error in one line: category, code and message."""
    # The name of an exception is both its code and the beginning of its message.
    is_said = fault.code is None or fault.message.startswith(fault.code)
    return f"{fault.category}{'' if is_said else f' {fault.code}'}: {fault.message}"


def fields(execution: BackgroundExecution) -> Fields:
    """Return all fields of an execution, with labels."""
    return [
        ("id", execution.execution_id),
        ("callable", execution.callable_name),
        ("status", execution.status),
        *_progress(execution),
        *_instants(execution),
        *_settings(execution),
        *_content(execution),
    ]


def _progress(execution: BackgroundExecution) -> Iterator[tuple[str, str]]:
    proto = execution.proto
    if execution.cancel_requested and not execution.is_finished:
        yield "cancel", "requested"
    if execution.reason not in (None, execution.status):
        yield "reason", str(execution.reason)
    if proto.HasField("actor") and not execution.is_success:
        kind = schema_json.to_dict(proto.actor).get("kind", "")
        yield "ended by", f"{kind} {proto.actor.id}".strip()
    if execution.paused:
        yield "paused", "yes" if execution.status == "queued" else "requested"
    yield "tenant", execution.tenant_id
    yield "attempt", _attempt(execution)
    if execution.worker_losses:
        yield "lost leases", f"{execution.worker_losses} of {proto.max_worker_losses} allowed"
    if execution.worker_id is not None:
        yield "worker", execution.worker_id
    if execution.progress is not None:
        yield "progress", progress_text(execution.progress)
    if execution.retried_from is not None:
        yield "redrives", execution.retried_from


def progress_text(progress: Json) -> str:
    """Show a progress as a percentage, a message, or both."""
    if not isinstance(progress, dict):
        return _compact(progress)
    fraction, message = progress.get("fraction"), progress.get("message")
    share = f"{fraction:.0%}" if isinstance(fraction, int | float) else ""
    return ", ".join(filter(None, [share, str(message or "")]))


def _attempt(execution: BackgroundExecution) -> str:
    """Describe the newest attempt, and how many attempts are spent of those allowed."""
    proto = execution.proto
    if not proto.config.HasField("retry"):
        return str(execution.attempt)
    most = proto.config.retry.max_attempts
    return f"{execution.attempt} ({execution.spent_attempts} of {most} allowed are spent)"


def _instants(execution: BackgroundExecution) -> Iterator[tuple[str, str]]:
    proto = execution.proto
    yield "queued", f"{show_instant(execution.queued_at)}, {_age(execution.queued_at)} ago"
    if execution.not_before is not None:
        yield "not before", show_instant(execution.not_before)
    if execution.next_attempt_at is not None:
        yield "next attempt", show_instant(execution.next_attempt_at)
    if proto.HasField("start_deadline"):
        yield "start deadline", show_instant(proto.start_deadline.ToDatetime(UTC))
    if proto.HasField("deadline"):
        yield "deadline", show_instant(proto.deadline.ToDatetime(UTC))
    if execution.started_at is not None:
        yield "started", show_instant(execution.started_at)
    if execution.completed_at is not None:
        took = _took(execution)
        yield "ended", show_instant(execution.completed_at) + (f", {took}" if took else "")


def _settings(execution: BackgroundExecution) -> Iterator[tuple[str, str]]:
    proto = execution.proto
    yield "priority", str(execution.priority)
    if proto.config.HasField("timeout_ms"):
        length = timedelta(milliseconds=proto.config.timeout_ms)
        yield "timeout", f"{show_duration(length)} each attempt"
    if proto.config.HasField("retry"):
        rule = schema_json.to_dict(proto.config.retry)
        yield "retry", ", ".join(f"{name} {_compact(part)}" for name, part in rule.items())
    if proto.HasField("dedup_key"):
        yield "dedup key", proto.dedup_key
    if proto.HasField("traceparent"):
        yield "traceparent", proto.traceparent
    for name, text in sorted(execution.context.items()):
        yield "context", f"{name}={text}"
    for name, part in sorted(execution.metadata.items()):
        yield "metadata", f"{name}={_compact(part)}"


def _content(execution: BackgroundExecution) -> Iterator[tuple[str, str]]:
    if execution.input is not None:
        yield "input", execution.input
    if execution.proto.HasField("output"):
        yield "output", output_text(execution.output)
    fault = execution.error or execution.last_error
    if fault is not None:
        yield "error" if execution.error else "last error", fault_line(fault)
        yield from _details(fault.details)


def _details(details: Json) -> Iterator[tuple[str, str]]:
    """Yield an error's details, a traceback as a field of its own."""
    if isinstance(details, dict) and isinstance(trace := details.get("traceback"), str):
        yield "traceback", trace.rstrip()
        # An exception's type is the last word of its traceback.
        details = {name: details[name] for name in details if name not in {"traceback", "type"}}
    if details not in (None, {}):
        yield "details", _compact(details)


def output_text(output: Json) -> str:
    """Return an output as text: a string as it is, anything else as compact JSON."""
    return output if isinstance(output, str) else _compact(output)


def _compact(part: Json) -> str:
    return json.dumps(part, ensure_ascii=False, separators=(",", ":"))


def _took(execution: BackgroundExecution) -> str:
    if execution.duration_ms is None:
        return ""
    return f"took {show_duration(timedelta(milliseconds=execution.duration_ms))}"


def _age(instant: datetime) -> str:
    # The server's clock may be a little ahead.
    return show_duration(max(datetime.now(UTC) - instant, timedelta(0)))


def _until(instant: datetime) -> str:
    return show_duration(instant - datetime.now(UTC))
