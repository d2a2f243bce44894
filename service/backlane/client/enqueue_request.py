"""Owns the request of an enqueue: options, durations and inputs in the contract's form."""

from __future__ import annotations

import itertools
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from backlane import errors
from backlane.errors import InvalidInputError
from backlane.schema import json as schema_json
from backlane.schema.dump import dump_text
from backlane.schema.named import id_of
from backlane.schema.options import ABSENT, RawInput, RedriveOptions
from backlane.schema.values import NotJsonError, to_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from backlane.schema.named import Named
    from backlane.schema.options import EnqueueOptions, Retry

ITEM_BYTES_MAX: Final = 4 << 20
"""The largest execution that any server can be set to take, in bytes."""
_INSTANTS: Final = ("not_before", "start_deadline", "deadline")


def request_ids(prefix: str | None = None) -> Iterator[str]:
    """Yield request ids without end: the prefix and a number, from 1.

    Without a prefix they are unique and cannot be guessed.
    """
    return map(f"{prefix or secrets.token_hex(12)}-{{}}".format, itertools.count(1))


def fill(
    request: api.EnqueueRequest,
    tenant_id: str,
    callable_name: str,
    given: object,
    options: EnqueueOptions,
) -> None:
    """Fill the request of an enqueue, but for a request id that is not among the options.

    Args:
        request: an empty request; made inside its message, because copying it there is slow.
        tenant_id: whose execution it is.
        callable_name: the callable to run.
        given: its input.
        options: the options of the enqueue.

    Raises:
        InvalidInputError: the name, the input or an option cannot be sent.
    """
    request.tenant_id = tenant_id
    try:
        request.callable_name = callable_name
    except UnicodeEncodeError as error:
        # The client has checked its tenant.
        raise InvalidInputError(f"the callable's name {callable_name!r} is not UTF-8") from error
    for name, value in options.items():
        try:
            _SETTERS[name](request, value)
        except KeyError:
            raise InvalidInputError(
                f"{name} is no option of an enqueue; there are {', '.join(_SETTERS)}"
            ) from None
        except UnicodeEncodeError:
            raise InvalidInputError(f"{name} {value!r} is not UTF-8") from None
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidInputError(f"{name} cannot be {value!r}: {error}") from error
    if "delay" in options and "not_before" in options:
        raise InvalidInputError("delay and not_before exclude each other")
    set_input(request, given)


_FLAGS: Final = ("restart", "with_dependents")
"""The options of a redrive that are no options of an enqueue."""


def redrive_request(
    tenant_id: str, execution_id: str, given: object, options: RedriveOptions
) -> api.RedriveRequest:
    """Make the request of a redrive; without a request id among the options it has a new one.

    Raises:
        InvalidInputError: the input or an option cannot be sent.
    """
    known = RedriveOptions.__annotations__
    if unknown := next((name for name in options if name not in known), None):
        raise InvalidInputError(
            f"{unknown} is no option of a redrive; there are {', '.join(known)}"
        )
    plain = {name: value for name, value in options.items() if name not in _FLAGS}
    made = api.EnqueueRequest()
    fill(made, tenant_id, "", given, merged({}, cast("RedriveOptions", plain)))
    return api.RedriveRequest(
        tenant_id=tenant_id,
        execution_id=execution_id,
        input=made.input if made.HasField("input") else None,
        config=made.config if made.HasField("config") else None,
        request_id=made.request_id or next(request_ids()),
        restart=_flag(options, "restart"),
        with_dependents=_flag(options, "with_dependents"),
    )


def _flag(options: RedriveOptions, name: str) -> bool:
    value = options.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def set_input(request: api.EnqueueRequest, given: object) -> int:
    """Set a request's input: the JSON of anything, a `RawInput` as it is.

    Returns:
        The size of the input in bytes.

    Raises:
        InvalidInputError: it is not JSON, or its JSON would not bring it back.
    """
    if given is ABSENT:
        return 0
    request.input = text = input_text(given)
    return len(text) if text.isascii() else len(text.encode())


def input_text(given: object) -> str:
    """Return an input as it is sent: the JSON of anything, a `RawInput` as it is.

    Raises:
        InvalidInputError: it is not JSON, or its JSON would not bring it back.
    """
    try:
        text = given if isinstance(given, RawInput) else dump_text(given)
        if not text.isascii():
            text.encode()
    except (NotJsonError, UnicodeEncodeError) as error:
        raise InvalidInputError(f"input: {error}") from error
    return text


def check_size(request: api.EnqueueRequest) -> None:
    """Check a request's encoded size.

    Raises:
        TooLargeError: no server would take it.
    """
    size = request.ByteSize()
    if size > ITEM_BYTES_MAX:
        parts = errors.ErrorParts(
            code=errors.REASONS["TOO_LARGE"].code,
            message=f"the execution has {size} bytes, and no server takes more than "
            f"{ITEM_BYTES_MAX}",
            reason="TOO_LARGE",
            metadata={"field": "input", "limit": str(ITEM_BYTES_MAX), "size": str(size)},
        )
        raise errors.TooLargeError(parts)


def merged(defaults: EnqueueOptions, options: Mapping[str, object]) -> EnqueueOptions:
    """Return options with a callable's own defaults below them; None counts as not given."""
    if not options:
        return defaults
    given = {name: value for name, value in options.items() if value is not None}
    return cast("EnqueueOptions", {**defaults, **given})


def _milliseconds(given: float | timedelta) -> int:
    return _span(given) // timedelta(milliseconds=1)


def _span(given: float | timedelta) -> timedelta:
    return given if isinstance(given, timedelta) else timedelta(seconds=given)


def _set_instant(request: api.EnqueueRequest, name: str, given: datetime) -> None:
    if given.tzinfo is None:
        raise ValueError("it names no time zone; use datetime.now(UTC) and the like")
    getattr(request, name).FromDatetime(given.astimezone(UTC))


def _set_delay(request: api.EnqueueRequest, given: float | timedelta) -> None:
    span = _span(given)
    if span < timedelta(0):
        raise ValueError("it must not be negative")
    # Rounded up, so that nothing runs early.
    request.delay_ms = -(-span // timedelta(milliseconds=1))


def _set_metadata(request: api.EnqueueRequest, given: Mapping[str, object]) -> None:
    for name, part in given.items():
        request.metadata[name].CopyFrom(to_value(part))


def _set_retry(request: api.EnqueueRequest, given: Retry) -> None:
    retry = request.config.retry
    # Present even where all of it is left at its defaults: that is what switches retries on.
    retry.SetInParent()
    retry.max_attempts = given.max_attempts
    retry.strategy = _number(records.RetryStrategy.DESCRIPTOR, given.strategy)
    retry.initial_delay_ms = _milliseconds(given.initial_delay)
    retry.backoff_multiplier = given.backoff_multiplier
    retry.max_delay_ms = _milliseconds(given.max_delay)
    retry.jitter = given.jitter
    retry.retry_on.extend(
        _number(records.ErrorCategory.DESCRIPTOR, category) for category in given.retry_on
    )


def _set_mode(request: api.EnqueueRequest, given: str) -> None:
    request.config.mode = _number(records.BackgroundExecutionMode.DESCRIPTOR, given)


def _set_dedup_policy(request: api.EnqueueRequest, given: str) -> None:
    request.dedup_policy = _number(api.DedupPolicy.DESCRIPTOR, given)


def _set_after(request: api.EnqueueRequest, given: Iterable[Named | str]) -> None:
    if isinstance(given, str):
        raise TypeError("it must be a list of handles or ids")
    request.depends_on.extend(map(id_of, given))


def _set_priority(request: api.EnqueueRequest, given: int) -> None:
    request.config.priority = given


def _set_timeout(request: api.EnqueueRequest, given: float | timedelta) -> None:
    request.config.timeout_ms = _milliseconds(given)


def _number(enum: Any, text: str) -> Any:  # noqa: ANN401  # each enum's own type of numbers
    return schema_json.enum_number(enum, text)


def _set_text(request: api.EnqueueRequest, name: str, given: str) -> None:
    if given == "":
        # The server would take it for none.
        raise ValueError("it must not be empty: leave it out, or give None")
    setattr(request, name, given)


def _text(name: str) -> Callable[[api.EnqueueRequest, Any], None]:
    return lambda request, given: _set_text(request, name, given)


def _field(name: str) -> Callable[[api.EnqueueRequest, Any], None]:
    return lambda request, given: setattr(request, name, given)


def _instant(name: str) -> Callable[[api.EnqueueRequest, Any], None]:
    return lambda request, given: _set_instant(request, name, given)


_SETTERS: Final[Mapping[str, Callable[[api.EnqueueRequest, Any], None]]] = {
    "mode": _set_mode,
    "priority": _set_priority,
    "timeout": _set_timeout,
    "retry": _set_retry,
    "delay": _set_delay,
    **{name: _instant(name) for name in _INSTANTS},
    "context": lambda request, given: request.context.update(given),
    "metadata": _set_metadata,
    "max_worker_losses": _field("max_worker_losses"),
    "request_id": _text("request_id"),
    "dedup_key": _text("dedup_key"),
    "dedup_policy": _set_dedup_policy,
    "after": _set_after,
    "traceparent": _text("traceparent"),
    # An option of the call, which is no part of the request.
    "call_timeout": lambda _request, _given: None,
}
