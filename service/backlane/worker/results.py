"""Owns the results of leases, and the messages that report them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from backlane.errors import MessageTooLargeError
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backlane.errors import BacklaneError

MESSAGE_ITEMS_MAX: Final = 1000
"""The most items in a message of results, of reports or of acknowledgements."""
MESSAGE_BYTES: Final = 4 << 20
"""No item is added to a message of this size; the transport's limit is five times as high."""

_KINDS: Final = frozenset(api.WorkRequest.DESCRIPTOR.fields_by_name)
"""The kinds of messages, with which the path to a bad field begins."""

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


def one_by_one(request: api.WorkRequest) -> list[api.WorkRequest]:
    """Return the items of a message of results or reports, each in a message of its own."""
    if request.HasField("steps"):
        reports = request.steps.reports
        return [api.WorkRequest(steps=api.ReportStepsRequest(reports=[each])) for each in reports]
    return [message_of([each]) for each in results_of(request)]


def culprit_of(
    error: BacklaneError, unanswered: Sequence[api.WorkRequest]
) -> api.WorkRequest | None:
    """Return which message without an answer an error is about that has ended the stream.

    It is none of them if the error names a message of another kind, such as one about progress.
    """
    if not unanswered:
        return None
    if isinstance(error, MessageTooLargeError):
        # gRPC refuses it before the server sees it: earlier ones may have no answer either.
        return max(unanswered, key=lambda request: request.ByteSize())
    # The server answers in order, and all that came before.
    oldest = unanswered[0]
    named = {each.field.partition(".")[0] for each in error.parts.violations} & _KINDS
    return oldest if not named or oldest.WhichOneof("message") in named else None


def refs_of(held: Iterable[tuple[str, str]]) -> list[api.LeaseRef]:
    """Make references from pairs of token and execution id."""
    return [api.LeaseRef(execution_id=execution, lease_token=token) for token, execution in held]
