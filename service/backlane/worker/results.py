"""Owns the results of leases, and the messages that report them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable

Result = api.CompleteResult | api.Failure | api.LeaseRef | api.Suspension
"""The result of a lease; a bare `LeaseRef` gives the lease back."""


def results_of(request: api.WorkRequest) -> Iterable[Result]:
    """Return the results of leases that a message reports."""
    match request.WhichOneof("message"):
        case "steps":
            return ()
        case "suspend":
            return request.suspend.suspensions
        case "complete":
            return request.complete.results
        case "fail":
            return request.fail.failures
        case _:
            return request.release.releases


def message_of(batch: list[Result]) -> api.WorkRequest:
    """Make one message of results of one kind."""
    match batch[0]:
        case api.CompleteResult():
            results = cast("list[api.CompleteResult]", batch)
            return api.WorkRequest(complete=api.CompleteRequest(results=results))
        case api.Failure():
            failures = cast("list[api.Failure]", batch)
            return api.WorkRequest(fail=api.FailRequest(failures=failures))
        case api.LeaseRef():
            releases = cast("list[api.LeaseRef]", batch)
            return api.WorkRequest(release=api.ReleaseRequest(releases=releases))
        case api.Suspension():
            suspensions = cast("list[api.Suspension]", batch)
            return api.WorkRequest(suspend=api.SuspendRequest(suspensions=suspensions))


def refs_of(held: Iterable[tuple[str, str]]) -> list[api.LeaseRef]:
    """Make references from pairs of token and execution id."""
    return [api.LeaseRef(execution_id=execution, lease_token=token) for token, execution in held]
