"""Owns the exceptions of failed calls, and how a gRPC error becomes one of them.

`REASONS` maps each `ErrorInfo.reason` to an exception and a status code. An error without a known
reason comes from the transport, a proxy or a newer server; `_BY_CODE` has an exception for it.
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
"""The `ErrorInfo.domain` of every error that Backlane's server makes."""
DETAILS_KEY: Final = "grpc-status-details-bin"
"""The trailer that carries the serialized `google.rpc.Status`."""

Code = grpc.StatusCode


class FieldViolation(NamedTuple):
    """A field of the request that was refused: its path and the reason."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class ErrorParts:
    """The parts of a status and its details.

    Attributes:
        code: the gRPC status code.
        message: one line for people.
        reason: the `ErrorInfo.reason`; empty if Backlane's server did not make the error.
        metadata: the variables in the message, as text.
        violations: the fields that were refused.
        retry_after_s: after how many seconds to try again, if the server says so.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[FieldViolation, ...] = ()
    retry_after_s: float | None = None
    maybe_applied: bool = False
    """Whether the call may have taken effect, whatever the status says."""


class BacklaneError(Exception):
    """A call failed. It changed nothing on the server unless `maybe_applied` is true."""

    is_retryable = False
    """Whether the same call may succeed if it is repeated later."""
    maybe_applied = False
    """Whether the call may have taken effect although it failed: repeat it with its request_id."""

    def __init__(self, parts: ErrorParts) -> None:
        """Make an error of its parts."""
        super().__init__(parts.message)
        self.parts = parts
        if parts.maybe_applied:
            self.maybe_applied = True

    def after_another_attempt(self) -> BacklaneError:
        """Return the error for a call that had been attempted before without getting a reply.

        The earlier attempt may have taken effect, unless this is a refusal that it would have got
        as well.
        """
        if self.maybe_applied or isinstance(self, _REFUSALS):
            return self
        return type(self)(replace(self.parts, maybe_applied=True))

    def __str__(self) -> str:
        """Return the message, with the reason or the code in front."""
        return f"{self.reason or self.code.name}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the parts; the default would pickle the message only."""
        return type(self), (self.parts,), dict(vars(self))

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
        """The reason, for programs; empty if Backlane's server did not make the error."""
        return self.parts.reason

    @property
    def metadata(self) -> Mapping[str, str]:
        """The variables in the message, as text."""
        return self.parts.metadata

    @property
    def retry_after_s(self) -> float | None:
        """After how many seconds to try again, if the server says so."""
        return self.parts.retry_after_s


class _Text:
    """An attribute that reads the variable of its name from an error's metadata."""

    def __set_name__(self, owner: type[BacklaneError], name: str) -> None:
        self._name = name

    def __get__(self, error: BacklaneError, owner: type[BacklaneError]) -> str:
        return error.metadata.get(self._name, "")


class _Number(_Text):
    """The same for a number; 0 if the variable is missing or not a number."""

    def __get__(  # type: ignore[override]
        self, error: BacklaneError, owner: type[BacklaneError]
    ) -> int:
        text = super().__get__(error, owner)
        return int(text) if text.isdecimal() else 0


class InvalidArgumentError(BacklaneError):
    """The request is not valid; `violations` names the fields."""

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        """The fields that were refused."""
        return self.parts.violations


class NotFoundError(BacklaneError):
    """The object does not exist, or belongs to a tenant that the caller may not see."""


class ExecutionNotFoundError(NotFoundError):
    """The tenant has no execution with that id, or the caller may not see it."""

    execution_id = _Text()
    tenant_id = _Text()


class ExecutionDeletedError(NotFoundError):
    """The execution with that request_id existed and was deleted since."""

    request_id = _Text()


class AlreadyExistsError(BacklaneError):
    """An unfinished execution has the dedup_key."""

    dedup_key = _Text()
    execution_id = _Text()


class RequestIdReusedError(BacklaneError):
    """The request_id was used for a different request within the last 24 hours."""

    request_id = _Text()


class PreconditionError(BacklaneError):
    """The call is not possible in the current state."""


class TransitionNotAllowedError(PreconditionError):
    """The execution has a status in which the event is not allowed, or its run has such a state."""

    execution_id = _Text()
    status = _Text()
    state = _Text()
    event = _Text()


class LeaseLostError(PreconditionError):
    """The lease token is no longer valid: stop the work and do not report it."""

    execution_id = _Text()


class ResourceExhaustedError(BacklaneError):
    """The server has no capacity for the call now."""

    is_retryable = True


class QueueFullError(ResourceExhaustedError):
    """The tenant has the largest number of unfinished executions that is allowed."""

    tenant_id = _Text()
    limit = _Number()


class QuotaExceededError(ResourceExhaustedError):
    """A quota is used up."""


class RateLimitedError(ResourceExhaustedError):
    """Too many calls at once; `retry_after_s` says when to try again."""


class DiskFullError(ResourceExhaustedError):
    """The server's disk is full: enqueues are refused, completions are still accepted."""


class OutOfRangeError(BacklaneError):
    """A value is outside of the range that the server accepts or still has."""


class TooLargeError(OutOfRangeError):
    """A field has more bytes than its limit. The call cannot succeed if it is repeated."""

    field = _Text()
    limit = _Number()
    size = _Number()


class UnavailableError(BacklaneError):
    """The server cannot be reached, or does not reply now."""

    is_retryable = True
    maybe_applied = True


class DrainingError(UnavailableError):
    """The server is stopping and did not accept the call."""

    maybe_applied = False


class StoreUnavailableError(UnavailableError):
    """The server's store does not respond."""


class UnauthenticatedError(BacklaneError):
    """The credential is missing or wrong."""


class PermissionDeniedError(BacklaneError):
    """The caller may not make this call for that tenant."""

    principal = _Text()
    tenant_id = _Text()


class InternalError(BacklaneError):
    """The server failed; its log has the details under `correlation_id`."""

    maybe_applied = True
    correlation_id = _Text()


class DataDamagedError(BacklaneError):
    """Data that the answer rests on is damaged on the server's disk; `what` names the row."""

    subject = _Text()
    what = _Text()


class CallTimeoutError(BacklaneError):
    """The call's deadline passed before the reply."""

    is_retryable = True
    maybe_applied = True


class CallCancelledError(BacklaneError):
    """The call was cancelled, by its caller or by a server that stopped."""

    maybe_applied = True


class MessageTooLargeError(BacklaneError):
    """A message is over gRPC's limit. The call cannot succeed if it is repeated."""


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
"""Errors about the request itself: the server does not return them for a request it accepted."""


class ReasonRow(NamedTuple):
    """The exception and the status code of a reason."""

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
"""Every reason of the protocol; a test compares the list with the core's."""

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
    """The interface that sync and asyncio RPC errors share."""

    def code(self) -> grpc.StatusCode:
        """Return the status code."""

    def details(self) -> str | None:
        """Return the text."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the trailers."""


def from_rpc_error(error: grpc.RpcError) -> BacklaneError:
    """Turn an RPC error, sync or asyncio, into an exception of Backlane.

    Raise it `from` the RPC error, which has gRPC's debug text.
    """
    call: RpcErrorLike = error  # type: ignore[assignment]  # every RpcError raised is a Call
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            with contextlib.suppress(
                DecodeError
            ):  # A proxy may use the trailer for something else.
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
        # Details of other kinds and of other domains are skipped.
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
        # Without an ErrorInfo it is gRPC's limit on the size of a message, where no retry helps.
        # With a reason that only a newer server knows it is some kind of back-pressure.
        return (ResourceExhaustedError if parts.reason else MessageTooLargeError)(parts)
    if parts.code not in _BY_CODE:
        # The error comes from a proxy or the like, which does not know what the call has done.
        return BacklaneError(replace(parts, maybe_applied=not parts.reason))
    return _BY_CODE[parts.code](parts)
