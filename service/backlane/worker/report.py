"""Owns how an exception of a callable is reported to the server."""

from __future__ import annotations

import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from backlane.errors import StepError
from backlane.schema.values import to_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.failure import Failure, number_of
from backlane.worker.groups import category_of, decisive, members

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.struct_pb2 import Value

    from backlane.schema.options import Category

MESSAGE_CHARACTERS_MAX: Final = 2000
TRACEBACK_CHARACTERS_MAX: Final = 8000
"""A longer traceback is cut at the front: its end says what went wrong."""
STEP_MESSAGE_CHARACTERS_MAX: Final = 500
"""Errors of steps count toward the size of a run, which has a limit."""
NAME_CHARACTERS_MAX: Final = 60
"""Even with four bytes per character this is below the server's limit for a code."""
DETAILS_BYTES_MAX: Final = 64 << 10
DETAILS_LEVELS_MAX: Final = 24
"""Levels of lists and objects. This and the number of encoded bytes are the server's defaults
(`proto/README.md`, §9). The server refuses a failure with larger details."""


def report(lease: api.Lease, error: BaseException) -> api.Failure:
    """Turn an exception into a failure for the server. This never raises.

    For a group its decisive member is reported, with the traceback of the whole group. The causes
    of an exception are in its traceback too, and change nothing else.
    """
    try:
        told = decisive(error)
        failure = _described(told) if isinstance(told, Failure) else _unexpected(told, error)
    except BaseException as trouble:  # noqa: BLE001  # reading an exception may raise
        failure = refused(
            "UNPRINTABLE_ERROR",
            f"{_name(error)}, which cannot be read: {_name(trouble)}",
            category="tool_error",
        )
    failure.execution_id = lease.execution.execution_id
    failure.lease_token = lease.lease_token
    return failure


def step_error(error: BaseException) -> records.ExecutionError:
    """Describe the exception of a step, without its traceback. This never raises."""
    try:
        told = decisive(error)
        if isinstance(told, StepError):
            return refused(told.code, str(told), told.category).error
        if isinstance(told, Failure):
            described = _described(told).error
            described.ClearField("details")
        else:
            name = _clean(_name(told), NAME_CHARACTERS_MAX)
            described = records.ExecutionError(
                category=number_of(category_of(told)), code=name, message=f"{name}: {_text(told)}"
            )
    except BaseException:  # noqa: BLE001  # reading an exception may raise
        return refused("UNPRINTABLE_ERROR", _name(error), category="tool_error").error
    described.message = _clean(described.message, STEP_MESSAGE_CHARACTERS_MAX)
    return described


def refused(code: str, message: str, category: Category = "validation_error") -> api.Failure:
    """Make a failure that the worker reports itself, for a bad input or output."""
    error = records.ExecutionError(
        category=number_of(category), code=code, message=_clean(message, MESSAGE_CHARACTERS_MAX)
    )
    return api.Failure(error=error)


def _described(failure: Failure) -> api.Failure:
    error = records.ExecutionError(
        category=number_of(failure.category),
        message=_clean(failure.message, MESSAGE_CHARACTERS_MAX),
        code=None if failure.code is None else _clean(failure.code, NAME_CHARACTERS_MAX),
        provider=_clean(failure.provider, NAME_CHARACTERS_MAX) if failure.provider else None,
        http_status=failure.http_status,
        details=None if failure.details is None else _details(failure.details),
    )
    if failure.retryable is not None:
        error.retry_policy.retryable = failure.retryable
    delay = failure.retry_after
    return api.Failure(
        error=error,
        retry_after_ms=None if delay is None else delay // timedelta(milliseconds=1),
        throttled=failure.throttled,
    )


def _unexpected(error: BaseException, raised: BaseException) -> api.Failure:
    """Describe an exception; `raised` is the group that it came in, or the same exception."""
    name = _name(error)
    trace = "".join(traceback.format_exception(raised, limit=-20))
    others = len(members(raised)) - 1
    more = f" (and {others} more in the group)" if others else ""
    details = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "traceback": _clean(trace[-TRACEBACK_CHARACTERS_MAX:], TRACEBACK_CHARACTERS_MAX),
    }
    return api.Failure(
        error=records.ExecutionError(
            category=number_of(category_of(error)),
            message=_clean(f"{name}: {_text(error)}", MESSAGE_CHARACTERS_MAX - len(more)) + more,
            code=_clean(name, NAME_CHARACTERS_MAX),
            details=to_value(details),
        )
    )


def _details(details: object) -> Value:
    """Turn details into JSON. Bad details are replaced by a description of the problem."""
    try:
        value = to_value(details)
    except Exception as problem:  # noqa: BLE001  # objects of a program may raise anything
        return _unreadable(_clean(_text(problem), MESSAGE_CHARACTERS_MAX))
    size, levels = value.ByteSize(), _levels(value)
    if size > DETAILS_BYTES_MAX:
        return _unreadable(f"the details have {size} bytes, and the limit is {DETAILS_BYTES_MAX}")
    if levels > DETAILS_LEVELS_MAX:
        return _unreadable(
            f"the details have {levels} levels, and the limit is {DETAILS_LEVELS_MAX}"
        )
    return value


def _unreadable(why: str) -> Value:
    return to_value({"unreadable_details": why})


def _levels(value: Value) -> int:
    """Count how deeply lists and objects are nested."""
    match value.WhichOneof("kind"):
        case "struct_value":
            parts: Iterable[Value] = value.struct_value.fields.values()
        case "list_value":
            parts = value.list_value.values
        case _:
            return 0
    return 1 + max(map(_levels, parts), default=0)


def _name(error: BaseException) -> str:
    return type(error).__qualname__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001  # a broken __str__ must not hide the other parts
        return "<its text cannot be printed>"


def _clean(text: str, most: int) -> str:
    """Cut a text, and replace characters that UTF-8 cannot encode."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return cut.encode("utf-8", "replace").decode()
