"""The reports of the small worker, and how it reads the answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc


def completion(ref: api.LeaseRef, output: object) -> api.WorkRequest:
    """Report a result."""
    result = api.CompleteResult(execution_id=ref.execution_id, lease_token=ref.lease_token)
    json_format.Parse(json.dumps(output), result.output)
    return api.WorkRequest(complete=api.CompleteRequest(results=[result]))


def failure(ref: api.LeaseRef, message: str) -> api.WorkRequest:
    """Report an error."""
    error = records.ExecutionError(category=records.ERROR_CATEGORY_TOOL_ERROR, message=message)
    failed = api.Failure(execution_id=ref.execution_id, lease_token=ref.lease_token, error=error)
    return api.WorkRequest(fail=api.FailRequest(failures=[failed]))


def suspension(ref: api.LeaseRef, waits: Sequence[api.WaitPoint]) -> api.WorkRequest:
    """Report that the execution waits."""
    item = api.Suspension(execution_id=ref.execution_id, lease_token=ref.lease_token, waits=waits)
    return api.WorkRequest(suspend=api.SuspendRequest(suspensions=[item]))


def trimmed(report: api.WorkRequest) -> api.WorkRequest:
    """The same report, its token without what a careless program would lose."""
    for result in report.complete.results:
        result.lease_token = result.lease_token.strip()
    return report


def delay_of(status: status_pb2.Status) -> float:
    """How long a status says to wait, in seconds."""
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(retry):
            return retry.retry_delay.ToTimedelta().total_seconds()
    return 0.0


def end_of(error: grpc.RpcError) -> status_pb2.Status:
    """What a stream ended with."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # every error is a call
    return status or status_pb2.Status()
