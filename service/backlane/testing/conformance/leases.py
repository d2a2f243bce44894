"""Owns the leases of the played server, which may be unusual ones."""

from __future__ import annotations

import random
import secrets
import string
import time
from typing import TYPE_CHECKING, Final

from google.protobuf.timestamp_pb2 import Timestamp

from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable

ECHO: Final = "conformance.echo"
FAIL: Final = "conformance.fail"
HOLD: Final = "conformance.hold"
SUM: Final = "conformance.sum"
CALLABLES: Final = (ECHO, FAIL, HOLD, SUM)
STEPS: Final = "conformance.steps"
"""A callable that a program may leave out; then the rules about steps do not apply to it."""
_BASE62: Final = string.digits + string.ascii_letters
_LONG_S: Final = 3600.0


def make_lease(
    callable_name: str,
    input: str | None = None,  # noqa: A002  # the record's own word
    *,
    tenant_id: str = "default",
    token: str | None = None,
    attempt: int = 1,
    execution_id: str | None = None,
    lease_s: float = 30.0,
) -> api.Lease:
    """Make a lease of one attempt.

    Args:
        callable_name: the callable.
        input: the input; None means no input.
        tenant_id: the tenant.
        token: the lease's token; a new one by default.
        attempt: the number of the attempt.
        execution_id: the execution; a new one by default.
        lease_s: the length of the lease, in seconds.
    """
    now = time.time()
    execution = records.BackgroundExecution(
        execution_id=execution_id or new_execution_id(),
        tenant_id=tenant_id,
        callable_name=callable_name,
        input=input,
        status=records.BACKGROUND_EXECUTION_STATUS_RUNNING,
        config=records.BackgroundExecutionConfig(priority=50),
        queued_at=_instant(now),
        started_at=_instant(now),
        updated_at=_instant(now),
        attempt=attempt,
        version=2 * attempt,
        max_worker_losses=3,
    )
    return api.Lease(
        execution=execution,
        lease_token=token or secrets.token_urlsafe(18),
        attempt=attempt,
        lease_expires_at=_instant(now + lease_s),
        attempt_deadline=_instant(now + _LONG_S),
        lease_remaining_ms=round(lease_s * 1000),
        attempt_remaining_ms=round(_LONG_S * 1000),
    )


def limit_attempt(lease: api.Lease, attempt_s: float, clock_ahead_s: float = 0.0) -> None:
    """Let the attempt of a lease run for that long, as a server says it whose clock may be wrong.

    Args:
        lease: the lease to change.
        attempt_s: how long the attempt may run from now, in seconds.
        clock_ahead_s: how far the server's clock is ahead of this machine's, in seconds.
    """
    now = time.time() + clock_ahead_s
    lease.attempt_remaining_ms = round(attempt_s * 1000)
    lease.attempt_deadline.CopyFrom(_instant(now + attempt_s))
    lease.lease_expires_at.CopyFrom(_instant(now + lease.lease_remaining_ms / 1000))


def not_offered(patterns: Iterable[str], names: Iterable[str] = CALLABLES) -> list[str]:
    """Return those of the names that an offer does not include."""
    offer = list(patterns)
    return [name for name in names if not any(_covers(pattern, name) for pattern in offer)]


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def new_execution_id() -> str:
    """Make an execution id in the server's form."""
    return "exec_" + "".join(random.choices(_BASE62, k=27))  # noqa: S311  # no secret


def refs(leases: Iterable[api.Lease]) -> list[api.LeaseRef]:
    """Make references to leases."""
    return [
        api.LeaseRef(execution_id=lease.execution.execution_id, lease_token=lease.lease_token)
        for lease in leases
    ]


def _instant(seconds: float) -> Timestamp:
    instant = Timestamp()
    instant.FromMilliseconds(round(seconds * 1000))
    return instant
