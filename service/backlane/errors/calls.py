"""Owns the exceptions of calls, and how an error on the wire becomes one of them.

`REASONS` is the one table from an `ErrorInfo.reason` to exception and status code. What carries no
Backlane reason was refused by the transport, by a proxy, or by a newer server; `_BY_CODE` names it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DOMAIN: Final = "backlane"
"""`ErrorInfo.domain` of every error of Backlane's own."""
DETAILS_KEY: Final = "grpc-status-details-bin"
"""The trailer that carries the serialized `google.rpc.Status`."""

Code = grpc.StatusCode


class FieldViolation(NamedTuple):
    """A field of the request that was refused, by its path, and why."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class ErrorParts:
    """What a status and its details say, taken apart.

    Attributes:
        code: the gRPC status code.
        message: one line for people.
        reason: `ErrorInfo.reason`, empty where the error is not Backlane's own.
        metadata: every variable of the message, as text.
        violations: the fields that were refused.
        retry_after_s: when to try again, in seconds, where the server says so.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[FieldViolation, ...] = ()
    retry_after_s: float | None = None
    maybe_applied: bool = False
    """Whether something else than the status tells that the call may have taken effect."""


class BacklaneError(Exception):
    """Base of the errors of calls. Such a call changed nothing, unless `maybe_applied`."""

    is_retryable = False
    """Whether the same call may succeed later, without anybody changing anything."""
    maybe_applied = False
    """Whether the call may have taken effect although it raised: repeat it by its request_id."""

    def __init__(self, parts: ErrorParts) -> None:
        """Take over what the status said."""
        super().__init__(parts.message)
        self.parts = parts
        if parts.maybe_applied:
            self.maybe_applied = True

    def after_another_attempt(self) -> BacklaneError:
        """Return it as the end of a call whose attempt before broke off without an answer.

        That attempt may have taken effect, unless this is a refusal that it would have met, too.
        """
        if self.maybe_applied or isinstance(self, _REFUSALS):
            return self
        return type(self)(replace(self.parts, maybe_applied=True))

    def __str__(self) -> str:
        """Return the message, with the reason or the code in front."""
        return f"{self.reason or self.code.name}: {self.message}"

    def __reduce__(self) -> tuple[type[BacklaneError], tuple[ErrorParts]]:
        """Pickle by the parts, since the default would pass the message alone."""
        return type(self), (self.parts,)

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status code."""
        return self.parts.code

    @property
    def message(self) -> str:
        """One line for people."""
        return self.parts.message

    @property
    def reason(self) -> str:
        """The reason by which programs tell errors apart; empty where it is not Backlane's own."""
        return self.parts.reason

    @property
    def metadata(self) -> Mapping[str, str]:
        """Every variable of the message, as text."""
        return self.parts.metadata

    @property
    def retry_after_s(self) -> float | None:
        """When to try again, in seconds, where the server says so."""
        return self.parts.retry_after_s


class _Text:
    """An attribute that reads a variable of the same name from an error's metadata."""

    def __set_name__(self, owner: type[BacklaneError], name: str) -> None:
        self._name = name

    def __get__(self, error: BacklaneError, owner: type[BacklaneError]) -> str:
        return error.metadata.get(self._name, "")


class _Number(_Text):
    """The same for a number; 0 where it is absent or unreadable."""

    def __get__(  # type: ignore[override]
        self, error: BacklaneError, owner: type[BacklaneError]
    ) -> int:
        text = super().__get__(error, owner)
        return int(text) if text.isdecimal() else 0


class InvalidArgumentError(BacklaneError):
    """The request itself is wrong; `violations` names the fields."""

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        """The fields that were refused."""
        return self.parts.violations


class NotFoundError(BacklaneError):
    """There is no such thing, or it belongs to a tenant that the caller may not see."""


class ExecutionNotFoundError(NotFoundError):
    """There is no execution of that id in that tenant, or none that the caller may see."""

    execution_id = _Text()
    tenant_id = _Text()


class ExecutionDeletedError(NotFoundError):
    """The execution of that request_id was there, and was removed since."""

    request_id = _Text()


class AlreadyExistsError(BacklaneError):
    """A living execution holds the dedup_key."""

    dedup_key = _Text()
    execution_id = _Text()


class RequestIdReusedError(BacklaneError):
    """The request_id was used for another body within the last 24 hours."""

    request_id = _Text()


class PreconditionError(BacklaneError):
    """The state of things does not allow it."""


class TransitionNotAllowedError(PreconditionError):
    """The execution stands at a status in which that event is illegal."""

    execution_id = _Text()
    status = _Text()
    event = _Text()


class LeaseLostError(PreconditionError):
    """The lease token is stale or expired: stop the work, and report nothing of it."""

    execution_id = _Text()


class ResourceExhaustedError(BacklaneError):
    """The server has no room for it now."""

    is_retryable = True


class QueueFullError(ResourceExhaustedError):
    """The tenant has as many unfinished executions as it may."""

    tenant_id = _Text()
    limit = _Number()


class QuotaExceededError(ResourceExhaustedError):
    """A quota is used up."""


class RateLimitedError(ResourceExhaustedError):
    """Too much at once; `retry_after_s` says when to come back."""


class DiskFullError(ResourceExhaustedError):
    """The server's disk is full: enqueues are refused, completions are still accepted."""


class OutOfRangeError(BacklaneError):
    """It lies beyond what the server takes or still has."""


class TooLargeError(OutOfRangeError):
    """A field is over its limit, both in bytes. Never a sign of load: do not retry."""

    field = _Text()
    limit = _Number()
    size = _Number()


class UnavailableError(BacklaneError):
    """The server cannot be reached or does not answer now."""

    is_retryable = True
    maybe_applied = True


class DrainingError(UnavailableError):
    """The server is about to stop and took nothing in."""

    maybe_applied = False


class StoreUnavailableError(UnavailableError):
    """The server's store does not answer."""


class UnauthenticatedError(BacklaneError):
    """The credential is missing or wrong."""


class PermissionDeniedError(BacklaneError):
    """The caller may not do this for that tenant."""

    principal = _Text()
    tenant_id = _Text()


class InternalError(BacklaneError):
    """Something went wrong inside the server; its log has it under `correlation_id`."""

    maybe_applied = True
    correlation_id = _Text()


class DataDamagedError(BacklaneError):
    """Data that the answer rests on is damaged on the server's disk; `what` names the row."""

    subject = _Text()
    what = _Text()


class CallTimeoutError(BacklaneError):
    """The call's own deadline passed before the answer."""

    is_retryable = True
    maybe_applied = True


class CallCancelledError(BacklaneError):
    """The call was cancelled by its caller or by a server that was stopped."""

    maybe_applied = True


class MessageTooLargeError(BacklaneError):
    """The message is over the transport's own limit. Never a sign of load: do not retry."""


class UnimplementedError(BacklaneError):
    """The server does not know this call; it may be older than the client."""


_REFUSALS: Final = (
    InvalidArgumentError,
    NotFoundError,
    AlreadyExistsError,
    RequestIdReusedError,
    PreconditionError,
    OutOfRangeError,
    QueueFullError,
)
"""What a server answers to the request itself, and does not answer to one that it has taken in."""


class ReasonRow(NamedTuple):
    """What one reason becomes."""

    error: type[BacklaneError]
    code: grpc.StatusCode


REASONS: Final[Mapping[str, ReasonRow]] = {
    "INVALID_ARGUMENT": ReasonRow(InvalidArgumentError, Code.INVALID_ARGUMENT),
    "EXECUTION_NOT_FOUND": ReasonRow(ExecutionNotFoundError, Code.NOT_FOUND),
    "EXECUTION_DELETED": ReasonRow(ExecutionDeletedError, Code.NOT_FOUND),
    "REQUEST_ID_REUSED": ReasonRow(RequestIdReusedError, Code.ALREADY_EXISTS),
    "ALREADY_EXISTS": ReasonRow(AlreadyExistsError, Code.ALREADY_EXISTS),
    "TRANSITION_NOT_ALLOWED": ReasonRow(TransitionNotAllowedError, Code.FAILED_PRECONDITION),
    "LEASE_LOST": ReasonRow(LeaseLostError, Code.FAILED_PRECONDITION),
    "QUEUE_FULL": ReasonRow(QueueFullError, Code.RESOURCE_EXHAUSTED),
    "QUOTA_EXCEEDED": ReasonRow(QuotaExceededError, Code.RESOURCE_EXHAUSTED),
    "RATE_LIMITED": ReasonRow(RateLimitedError, Code.RESOURCE_EXHAUSTED),
    "TOO_LARGE": ReasonRow(TooLargeError, Code.OUT_OF_RANGE),
    "DISK_FULL": ReasonRow(DiskFullError, Code.RESOURCE_EXHAUSTED),
    "DRAINING": ReasonRow(DrainingError, Code.UNAVAILABLE),
    "STORE_UNAVAILABLE": ReasonRow(StoreUnavailableError, Code.UNAVAILABLE),
    "UNAUTHENTICATED": ReasonRow(UnauthenticatedError, Code.UNAUTHENTICATED),
    "PERMISSION_DENIED": ReasonRow(PermissionDeniedError, Code.PERMISSION_DENIED),
    "DATA_DAMAGED": ReasonRow(DataDamagedError, Code.DATA_LOSS),
    "INTERNAL": ReasonRow(InternalError, Code.INTERNAL),
}
"""Every reason of the wire contract; the core's own list is equal to it."""

_BY_CODE: Final[Mapping[grpc.StatusCode, type[BacklaneError]]] = {
    Code.INVALID_ARGUMENT: InvalidArgumentError,
    Code.NOT_FOUND: NotFoundError,
    Code.ALREADY_EXISTS: AlreadyExistsError,
    Code.FAILED_PRECONDITION: PreconditionError,
    Code.OUT_OF_RANGE: OutOfRangeError,
    Code.UNAVAILABLE: UnavailableError,
    Code.UNAUTHENTICATED: UnauthenticatedError,
    Code.PERMISSION_DENIED: PermissionDeniedError,
    Code.DATA_LOSS: DataDamagedError,
    Code.INTERNAL: InternalError,
    Code.DEADLINE_EXCEEDED: CallTimeoutError,
    Code.CANCELLED: CallCancelledError,
    Code.UNIMPLEMENTED: UnimplementedError,
}

_CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in Code}


class RpcErrorLike(Protocol):
    """What sync and asyncio RPC errors have in common."""

    def code(self) -> grpc.StatusCode:
        """Return the status code."""

    def details(self) -> str | None:
        """Return the text."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the trailers."""


def from_rpc_error(error: grpc.RpcError) -> BacklaneError:
    """Turn an error of a call, sync or asyncio, into Backlane's own.

    Raise it `from` the original, which keeps the transport's debug text.
    """
    call: RpcErrorLike = error  # type: ignore[assignment]  # every RpcError raised is a Call
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            with contextlib.suppress(DecodeError):  # A proxy may have written something else.
                return from_status(status_pb2.Status.FromString(value))
    return _make(ErrorParts(call.code(), call.details() or ""))


def from_status(status: status_pb2.Status) -> BacklaneError:
    """Turn a `google.rpc.Status`, such as the outcome of one item, into an exception."""
    info = error_details_pb2.ErrorInfo()
    told = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    retry_after_s = None
    for detail in status.details:
        # Details of other kinds, and of other domains, are for other readers.
        if detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
        elif not detail.Unpack(request) and detail.Unpack(told) and told.domain == DOMAIN:
            info.CopyFrom(told)
    return _make(
        ErrorParts(
            code=_CODES.get(status.code, Code.UNKNOWN),
            message=status.message,
            reason=info.reason,
            metadata=dict(info.metadata),
            violations=tuple(
                FieldViolation(v.field, v.description) for v in request.field_violations
            ),
            retry_after_s=retry_after_s,
        )
    )


def _make(parts: ErrorParts) -> BacklaneError:
    row = REASONS.get(parts.reason)
    if row is not None:
        return row.error(parts)
    if parts.code is Code.RESOURCE_EXHAUSTED:
        # Without an ErrorInfo it is gRPC's own limit on a message's size, and no retry helps;
        # with a reason of a newer server it is back-pressure of some kind.
        return (ResourceExhaustedError if parts.reason else MessageTooLargeError)(parts)
    if parts.code not in _BY_CODE:
        # Something between here and the server says so, and knows not what became of the call.
        return BacklaneError(replace(parts, maybe_applied=not parts.reason))
    return _BY_CODE[parts.code](parts)
