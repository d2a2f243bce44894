"""The form that every error must have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

CODES: Final[Mapping[str, str]] = {
    "INVALID_ARGUMENT": "INVALID_ARGUMENT",
    "EXECUTION_NOT_FOUND": "NOT_FOUND",
    "EXECUTION_DELETED": "NOT_FOUND",
    "REQUEST_ID_REUSED": "ALREADY_EXISTS",
    "ALREADY_EXISTS": "ALREADY_EXISTS",
    "TRANSITION_NOT_ALLOWED": "FAILED_PRECONDITION",
    "LEASE_LOST": "FAILED_PRECONDITION",
    "QUEUE_FULL": "RESOURCE_EXHAUSTED",
    "RATE_LIMITED": "RESOURCE_EXHAUSTED",
    "TOO_LARGE": "OUT_OF_RANGE",
}
"""The status code of each reason that a healthy server can return."""
VARIABLES: Final[Mapping[str, set[str]]] = {
    "INVALID_ARGUMENT": {"field", "rule"},
    "EXECUTION_NOT_FOUND": {"execution_id", "tenant_id"},
    "REQUEST_ID_REUSED": {"request_id"},
    "ALREADY_EXISTS": {"dedup_key", "execution_id"},
    "TRANSITION_NOT_ALLOWED": {"execution_id", "status", "event"},
    "LEASE_LOST": {"execution_id"},
    "QUEUE_FULL": {"tenant_id", "limit"},
    "TOO_LARGE": {"field", "limit", "size"},
}
"""The variables of each reason's message."""


def refused(call: Callable[[], object]) -> status_pb2.Status:
    """The status of a call, which has to fail."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    error: Any = raised.value
    status: status_pb2.Status | None = rpc_status.from_call(error)
    assert status is not None, f"{error.code()}: {error.details()} carries no google.rpc.Status"
    assert (error.code().value[0], error.details()) == (status.code, status.message)
    return status


def details(status: status_pb2.Status, kind: type[Message]) -> list[Any]:
    """The details of one kind."""
    found = []
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            found.append(detail)
    return found


def assert_refusal(status: status_pb2.Status, reason: str, field: str = "") -> None:
    """Check the form of an error: one `ErrorInfo`, the reason, and the field of the request."""
    [info] = details(status, error_details_pb2.ErrorInfo)
    assert (info.domain, info.reason) == ("backlane", reason), status.message
    assert code_pb2.Code.Name(status.code) == CODES[reason]
    assert_all_told(status.message, dict(info.metadata), reason)
    fields = [
        violation.field
        for request in details(status, error_details_pb2.BadRequest)
        for violation in request.field_violations
    ]
    assert fields == ([field] if field else [])
    assert info.metadata.get("field", "") == field


def assert_all_told(message: str, metadata: dict[str, str], reason: str) -> None:
    """Check that the metadata of an error has every variable of its message."""
    assert set(metadata) == VARIABLES.get(reason, set(metadata))
    rest = message
    for value in sorted(metadata.values(), key=len, reverse=True):
        assert value in message
        rest = rest.replace(value, "")
    assert not re.search(r"\d", rest), f"a variable is in no metadata: {rest}"
