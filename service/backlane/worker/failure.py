"""Owns the exceptions for a failed attempt, and how any exception is reported to the server."""

from __future__ import annotations

import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from backlane.schema.values import to_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.struct_pb2 import Value

    from backlane.schema.options import Category

MESSAGE_CHARACTERS_MAX: Final = 2000
TRACEBACK_CHARACTERS_MAX: Final = 8000
"""A longer traceback is cut at the front: its end says what went wrong."""
NAME_CHARACTERS_MAX: Final = 60
"""Even with four bytes per character this is below the server's limit for a code."""
DETAILS_BYTES_MAX: Final = 64 << 10
DETAILS_LEVELS_MAX: Final = 24
"""Levels of lists and objects. This and the number of encoded bytes are the server's defaults
(`proto/README.md`, §9). The server refuses a failure with larger details."""
RETRY_AFTER_MAX: Final = timedelta(hours=24)


class Failure(Exception):  # noqa: N818  # it is raised to fail, and is no fault of the program
    """Raise this in a callable to fail its attempt with a category, a code and details.

    Attributes:
        category: the kind of the error; fatal categories are never retried.
        code: a short name for programs, such as `rate_limit`.
        retryable: False ends the execution whatever its retry rule says; None leaves the decision
            to the rule.
        retry_after: the time until the next attempt, in the place of the rule's delay.
        details: any JSON of at most 64 KiB and 24 levels; larger details are left out.
        provider: the service that was called.
        http_status: the HTTP status of its reply, from 100 to 599.

    Example:
        worker = Worker()

        @worker.callable
        def fetch(url: str) -> str:
            raise Failure("gone", category="network_error", http_status=410, retryable=False)

        with worker.running(), Client() as client:
            failed = client.enqueue(fetch, "https://example.com").wait()
            assert failed.status == "failed"
    """

    throttled = False

    def __init__(  # noqa: PLR0913  # one for each field of an error
        self,
        message: str,
        *,
        category: Category = "tool_error",
        code: str | None = None,
        retryable: bool | None = None,
        retry_after: float | timedelta | None = None,
        details: object = None,
        provider: str | None = None,
        http_status: int | None = None,
    ) -> None:
        """Describe the failure.

        Raises:
            ValueError: the category is unknown, `retry_after` is not from 0 to 24 hours, or
                `http_status` is not from 100 to 599.
            TypeError: another argument has a wrong type; the message names it.
        """
        # Often an exception is passed as the message.
        self.message = str(message)
        super().__init__(self.message)
        _number_of(category)
        _check_type("code", code, str)
        _check_type("retryable", retryable, bool)
        _check_type("provider", provider, str)
        _check_type("http_status", http_status, int)
        if http_status is not None and not 100 <= http_status <= 599:  # noqa: PLR2004  # as HTTP's
            raise ValueError(f"http_status must be from 100 to 599, not {http_status}")
        self.category = category
        self.code = code
        self.retryable = retryable
        self.retry_after = None if retry_after is None else _delay(retry_after)
        self.details = details
        self.provider = provider
        self.http_status = http_status


class Throttled(Failure):
    """Raise this to try again later, whatever the retry rule says. No attempt is spent."""

    throttled = True

    def __init__(
        self, message: str = "throttled", *, retry_after: float | timedelta, code: str | None = None
    ) -> None:
        """Describe it; `retry_after` is the time until the next try, in seconds."""
        super().__init__(message, code=code, retry_after=retry_after)


def report(lease: api.Lease, error: BaseException) -> api.Failure:
    """Turn an exception into a failure for the server. This never raises."""
    try:
        failure = _described(error) if isinstance(error, Failure) else _unexpected(error)
    except BaseException as trouble:  # noqa: BLE001  # reading an exception may raise
        failure = refused(
            "UNPRINTABLE_ERROR",
            f"{_name(error)}, which cannot be read: {_name(trouble)}",
            category="tool_error",
        )
    failure.execution_id = lease.execution.execution_id
    failure.lease_token = lease.lease_token
    return failure


def refused(code: str, message: str, category: Category = "validation_error") -> api.Failure:
    """Make a failure that the worker reports itself, for a bad input or output."""
    error = records.ExecutionError(
        category=_number_of(category), code=code, message=_clean(message, MESSAGE_CHARACTERS_MAX)
    )
    return api.Failure(error=error)


def _described(failure: Failure) -> api.Failure:
    error = records.ExecutionError(
        category=_number_of(failure.category),
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


def _unexpected(error: BaseException) -> api.Failure:
    name = _name(error)
    trace = "".join(traceback.format_exception(error, limit=-20))
    details = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "traceback": _clean(trace[-TRACEBACK_CHARACTERS_MAX:], TRACEBACK_CHARACTERS_MAX),
    }
    return api.Failure(
        error=records.ExecutionError(
            category=_number_of(_category(error)),
            message=_clean(f"{name}: {_text(error)}", MESSAGE_CHARACTERS_MAX),
            code=_clean(name, NAME_CHARACTERS_MAX),
            details=to_value(details),
        )
    )


def _category(error: BaseException) -> Category:
    """Choose a category by the class of the exception."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return "network_error" if isinstance(error, ConnectionError) else "tool_error"


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


def _number_of(category: Category) -> records.ErrorCategory.ValueType:
    try:
        return records.ErrorCategory.Value(f"ERROR_CATEGORY_{category.upper()}")
    except (ValueError, AttributeError):
        known = ", ".join(name[15:].lower() for name in records.ErrorCategory.keys()[1:])
        raise ValueError(f"category {category!r} is not one of {known}") from None


def _delay(given: float | timedelta) -> timedelta:
    try:
        delay = given if isinstance(given, timedelta) else timedelta(seconds=given)
    except (TypeError, ValueError, OverflowError):
        delay = None
    if delay is None or not timedelta(0) <= delay <= RETRY_AFTER_MAX:
        raise ValueError(f"retry_after must be from 0 to 24 hours, not {given!r}")
    return delay


def _check_type(name: str, given: object, kind: type) -> None:
    if given is not None and not isinstance(given, kind):
        raise TypeError(f"{name} must be of type {kind.__name__} or None, not {given!r}")
