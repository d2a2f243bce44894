"""Owns the errors of the played server, in the form of proto/README.md §8."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

CODES = {
    "INVALID_ARGUMENT": code_pb2.INVALID_ARGUMENT,
    "TOO_LARGE": code_pb2.OUT_OF_RANGE,
    "EXECUTION_NOT_FOUND": code_pb2.NOT_FOUND,
    "LEASE_LOST": code_pb2.FAILED_PRECONDITION,
    "RATE_LIMITED": code_pb2.RESOURCE_EXHAUSTED,
    "DRAINING": code_pb2.UNAVAILABLE,
    "INTERNAL": code_pb2.INTERNAL,
}
"""The status codes by reason, for reasons that a worker can get."""
_NO_EXECUTION = {"execution_id": "exec_000000000000000000000000000", "tenant_id": "conformance"}
_VARIABLES = {
    "EXECUTION_NOT_FOUND": _NO_EXECUTION,
    "LEASE_LOST": {"execution_id": _NO_EXECUTION["execution_id"]},
    "INVALID_ARGUMENT": {"field": "results[0].output", "rule": "is refused by this test"},
    "TOO_LARGE": {"field": "results[0].output", "limit": "1048576", "size": "1048577"},
}


def refusal(reason: str, retry_after_s: float | None = None) -> status_pb2.Status:
    """Make an error with a reason, and with a time to retry after if one is given."""
    variables = _VARIABLES.get(reason, {})
    told = "".join(f", {name} {value}" for name, value in variables.items())
    status = status_pb2.Status(code=CODES[reason], message=f"conformance test: {reason}{told}")
    info = error_details_pb2.ErrorInfo(domain="backlane", reason=reason, metadata=variables)
    status.details.add().Pack(info)
    if "field" in variables:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=variables["field"], description=variables.get("rule", "is too large")
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(round(retry_after_s * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def broken_connection() -> status_pb2.Status:
    """Make the error of a broken connection: UNAVAILABLE without details."""
    return status_pb2.Status(code=code_pb2.UNAVAILABLE, message="conformance test: connection lost")
