"""Makes requests of the words of a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.scenario.script import Line, Word, keyed, milliseconds, text

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTHS = {"retry.initial_delay": "initial_delay_ms", "retry.max_delay": "max_delay_ms"}
_INSTANTS = {"not_before", "start_deadline", "deadline"}
# A well-formed id that no execution has.
_UNKNOWN_ID = "exec_2Rb6sVIu9XkD3s0mN0mN0mN0mN0"
# These name other executions.
_NAMES = {"after", "parent", "step", "token"}
_TEXTS = {"tenant": "tenant_id", "callable": "callable_name"}


def enqueue(words: list[Word], now_ms: int) -> api.EnqueueRequest:
    """The request that makes one execution."""
    request = api.EnqueueRequest(tenant_id="acme", callable_name="mail")
    for key, value in keyed(words).items():
        if key in _INSTANTS:
            getattr(request, key).FromMilliseconds(now_ms + milliseconds(value))
        elif key.startswith("retry"):
            _set_retry(request.config.retry, key, value)
        elif key not in _NAMES:
            _set(request, key, value)
    return request


def depend(
    request: api.EnqueueRequest, words: list[Word], ids: dict[str, str], batch: list[str]
) -> None:
    """Add what the word `after` names: items of the same batch, or executions that have a name."""
    for name in filter(None, keyed(words).get("after", "").split(",")):
        if name in batch:
            request.depends_on_items.append(batch.index(name))
        else:
            request.depends_on.append(ids.get(name, _UNKNOWN_ID))


def _set(request: api.EnqueueRequest, key: str, value: str) -> None:
    if key == "timeout":
        request.config.timeout_ms = milliseconds(value)
    elif key == "delay":
        request.delay_ms = milliseconds(value)
    elif key == "priority":
        request.config.priority = int(value)
    elif key == "max_worker_losses":
        request.max_worker_losses = int(value)
    elif key == "policy":
        name = f"CANCELLATION_POLICY_{value.upper()}"
        request.cancellation_policy = records.CancellationPolicy.Value(name)
    elif key == "dedup_policy":
        request.dedup_policy = api.DedupPolicy.Value(f"DEDUP_POLICY_{value.upper()}")
    else:
        setattr(request, _TEXTS.get(key, key), text(value))


def _set_retry(retry: records.RetryConfig, key: str, value: str) -> None:
    retry.SetInParent()
    if key in _LENGTHS:
        setattr(retry, _LENGTHS[key], milliseconds(value))
    elif key != "retry":
        _RETRY[key](retry, value)


def category(name: str) -> records.ErrorCategory.ValueType:
    """The category of that name."""
    return records.ErrorCategory.Value(f"ERROR_CATEGORY_{name.upper()}")


def _strategy(retry: records.RetryConfig, value: str) -> None:
    retry.strategy = records.RetryStrategy.Value(f"RETRY_STRATEGY_{value.upper()}")


_RETRY: dict[str, Callable[[records.RetryConfig, str], None]] = {
    "retry.max_attempts": lambda retry, value: setattr(retry, "max_attempts", int(value)),
    "retry.multiplier": lambda retry, value: setattr(retry, "backoff_multiplier", float(value)),
    "retry.jitter": lambda retry, value: setattr(retry, "jitter", value == "true"),
    "retry.on": lambda retry, value: retry.retry_on.extend(map(category, value.split(","))),
    "retry.strategy": _strategy,
}


def lease(line: Line) -> work.LeaseRequest:
    """The request of a worker that takes what there is."""
    tenants = line.get("tenants")
    return work.LeaseRequest(
        worker_id=line.plain(),
        callables=line.get("callables", "*").split(","),
        tenant_ids=tenants.split(",") if tenants else [],
        max_executions=int(line.get("max", "1")),
        lease_duration_ms=milliseconds(line.get("duration", "30s")),
    )


def output(json_text: str) -> Value | None:
    """The output of a completion, None where a worker gives none."""
    return json_format.Parse(json_text, Value()) if json_text else None


def failure(line: Line, held: work.LeaseRef) -> work.Failure:
    """What a worker reports of an attempt that failed."""
    error = records.ExecutionError(
        category=category(line.get("category", "tool_error")),
        message=text(line.get("message", "boom")),
        code=line.get("code") or None,
    )
    if line.get("retryable") == "false":
        error.retry_policy.retryable = False
        error.retry_policy.SetInParent()
    after = line.get("retry_after")
    return work.Failure(
        execution_id=held.execution_id,
        lease_token=held.lease_token,
        error=error,
        retry_after_ms=milliseconds(after) if after else None,
        throttled=line.get("throttled") == "true",
    )


def progress(line: Line, held: work.LeaseRef) -> work.ProgressReport:
    """What a worker reports of how far an execution has come."""
    fraction = line.get("fraction")
    return work.ProgressReport(
        execution_id=held.execution_id,
        lease_token=held.lease_token,
        fraction=float(fraction) if fraction else None,
        message=text(line.get("message")),
    )


def redrive(line: Line, execution_id: str) -> api.RedriveRequest:
    """The request that runs an execution once more."""
    given = keyed(line.words)
    request = api.RedriveRequest(
        tenant_id=given.get("tenant", "acme"),
        execution_id=execution_id,
        request_id=given.get("request_id", ""),
        restart="restart" in given,
        with_dependents="with_dependents" in given,
    )
    if "input" in given:
        request.input = text(given["input"])
    if "priority" in given:
        request.config.priority = int(given["priority"])
    if "timeout" in given:
        request.config.timeout_ms = milliseconds(given["timeout"])
    return request
