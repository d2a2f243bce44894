"""Owns the errors that the server itself returns, in the same form as the core's."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from backlane.errors import DETAILS_KEY, DOMAIN, REASONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

_LOG = logging.getLogger(__name__)

CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}
"""The status codes by number."""


class Refusal(NamedTuple):
    """The parts of an error reply: the number of the code, the serialized status, the text."""

    code: int
    payload: bytes
    message: str


class RefusedError(Exception):
    """A call is refused, by the server or by the core."""

    def __init__(self, refusal: Refusal) -> None:
        """Make an error of the reply."""
        super().__init__(refusal.message)
        self.refusal = refusal


def refusal(
    reason: str,
    message: str,
    *,
    metadata: Mapping[str, str] | None = None,
    retry_after_s: float | None = None,
) -> Refusal:
    """Make a refusal with an `ErrorInfo`, and a `QuotaFailure` and `RetryInfo` if they apply."""
    code = REASONS[reason].code.value[0]
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)
    details = [_packed(info)]
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]:
        violation = error_details_pb2.QuotaFailure.Violation(subject="server", description=message)
        details.append(_packed(error_details_pb2.QuotaFailure(violations=[violation])))
    if retry_after_s is not None:
        delay = duration_pb2.Duration(nanos=round(retry_after_s * 1e9) % 10**9)
        delay.seconds = int(retry_after_s)
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    status = status_pb2.Status(code=code, message=message, details=details)
    return Refusal(code, status.SerializeToString(), message)


def refusal_for(error: BaseException, doing: str) -> Refusal:
    """Return the reply for an exception, without its text, which only the log gets."""
    if isinstance(error, RefusedError):
        return error.refusal
    correlation_id = uuid.uuid4().hex
    _LOG.error("%s failed; correlation id %s", doing, correlation_id, exc_info=error)
    return refusal(
        "INTERNAL",
        f"internal error; see correlation id {correlation_id} in the server's log",
        metadata={"correlation_id": correlation_id},
    )


_PAYLOAD_BYTES_MAX: Final = 4096
"""The size that fits into the 8 KiB of trailers of clients, in base64 and beside the text."""
_MESSAGE_CHARS_MAX: Final = 500
"""The length that fits there even if every character is escaped."""


async def abort(
    context: grpc.aio.ServicerContext[bytes, bytes], code: int, payload: bytes, message: str
) -> NoReturn:
    """End a call with a status. Always raises, as grpc requires."""
    if len(message) > _MESSAGE_CHARS_MAX:
        message = message[: _MESSAGE_CHARS_MAX - 1] + "…"
    if len(payload) > _PAYLOAD_BYTES_MAX:
        payload = _shortened(payload, message)
    await context.abort(CODES[code], message, ((DETAILS_KEY, payload),))


def _shortened(payload: bytes, message: str) -> bytes:
    """Leave out the last details until the rest fits; clients drop an error that is too large."""
    status = status_pb2.Status.FromString(payload)
    status.message = message
    while status.details and status.ByteSize() > _PAYLOAD_BYTES_MAX:
        del status.details[-1]
    return status.SerializeToString()


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


DRAINING: Final = refusal("DRAINING", "the server is stopping", retry_after_s=0.5)
"""The end of calls and streams of a server that stops."""

NO_MESSAGE: Final = refusal(
    "INVALID_ARGUMENT", "the request is not an encoded message of the method"
)
"""The reply to bytes of health and reflection that cannot be decoded."""
