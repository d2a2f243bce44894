"""The reasons of an execution in the language of scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.scenario.view import NONE, actor, instant, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from backlane.v1 import explanation_pb2 as api

    Names = Callable[[str], str]


def worded(reason: api.Reason, now_ms: int, name_of: Names) -> tuple[str, dict[str, object]]:
    """The kind of a reason and its fields, as `name_of` names executions."""
    kind = reason.WhichOneof("kind")
    assert kind
    assert reason.text
    one = getattr(reason, kind)
    fields: dict[str, object] = {}
    for field in ("until", "since"):
        if field in one.DESCRIPTOR.fields_by_name:
            at = getattr(one, field)
            fields[field] = instant(at, now_ms) if one.HasField(field) else NONE
    for field in ("attempt", "workers", "held", "count", "tenants", "limit", "running"):
        if field in one.DESCRIPTOR.fields_by_name:
            fields[field] = str(getattr(one, field))
    for field in ("cancel_requested", "pause_requested"):
        if field in one.DESCRIPTOR.fields_by_name:
            fields[field] = str(getattr(one, field)).lower()
    if kind in _SHOWN:
        fields |= _SHOWN[kind](one, now_ms, name_of)
    return kind, {f"{kind}.{key}": value for key, value in fields.items()}


def _names(ids: Iterable[str], name_of: Names) -> str:
    return ",".join(map(name_of, ids))


def _suspended(one: api.Reason.Suspended, now_ms: int, name_of: Names) -> dict[str, object]:
    keys = [wait.input_key for wait in one.waits if wait.HasField("input_key")]
    ends = [wait.until for wait in one.waits if wait.HasField("until")]
    first = min(ends, key=lambda end: end.ToMilliseconds(), default=None)
    children = [wait.child_execution_id for wait in one.waits if wait.child_execution_id]
    return {
        "keys": ",".join(keys) or NONE,
        "until": NONE if first is None else instant(first, now_ms),
        "children": _names(children, name_of) or NONE,
    }


def _no_worker(one: api.Reason.NoWorker, now_ms: int, _: Names) -> dict[str, object]:
    is_known = one.HasField("last_offered_at")
    return {"last": instant(one.last_offered_at, now_ms) if is_known else NONE}


_SHOWN: dict[str, Callable[..., dict[str, object]]] = {
    "finished": lambda one, *_: {"status": status(one.status)},
    "unmet_dependencies": lambda one, _, name_of: {
        "of": _names((related.execution_id for related in one.unmet), name_of)
    },
    "backing_off": lambda one, *_: {"attempt": str(one.error.attempt)},
    "paused": lambda one, *_: {"by": actor(one.by)},
    "suspended": _suspended,
    "running": lambda one, *_: {"worker": one.worker_id},
    "awaits_descendants": lambda one, _, name_of: {
        "of": _names(one.execution_ids, name_of),
        "status": status(one.status),
    },
    "tenant_limit": lambda one, _, name_of: {"holders": _names(one.holder_ids, name_of)},
    "callable_limit": lambda one, _, name_of: {"holders": _names(one.holder_ids, name_of)},
    "no_worker": _no_worker,
    "withheld": lambda one, *_: {"worker": one.worker_id},
}
