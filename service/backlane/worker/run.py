"""Owns what is known of one lease whose callable runs here, and what may be reported of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backlane.errors import StepError, StepVersionError
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.callable import InputError, OutputError
from backlane.worker.report import refused

if TYPE_CHECKING:
    import asyncio

    from backlane.schema.options import Category
    from backlane.worker.callable import BackgroundCallable
    from backlane.worker.context import Context


class Run:
    """A lease whose callable waits to run, runs, or is being stopped."""

    __slots__ = (
        *("began_at", "callable", "context", "ended_at", "ends_at", "is_on_loop", "lease"),
        *("task", "thread_id"),
    )

    def __init__(
        self,
        lease: api.Lease,
        called: BackgroundCallable[..., Any],
        context: Context,
        ends_at: float,
    ) -> None:
        """Describe a run that has not begun; `ends_at` is on the monotonic clock, in seconds."""
        self.lease = lease
        self.callable = called
        self.context = context
        self.ends_at = ends_at
        # When its callable was called.
        self.began_at: float | None = None
        # When the lease was lost or the attempt timed out. The callable may run on.
        self.ended_at: float | None = None
        self.thread_id: int | None = None
        self.is_on_loop = called.is_async
        # Set by the task itself, once it has begun.
        self.task: asyncio.Task[None] | None = None

    def is_overdue(self, now: float) -> bool:
        """Return whether the attempt has timed out, and that was not noted yet."""
        return self.ends_at < now and self.ended_at is None

    def end(self, at: float) -> None:
        """Note that the attempt has ended; the first time stands."""
        if self.ended_at is None:
            self.ended_at = at
            self.context.end()

    def overrun_s(self, now: float) -> float:
        """Return how long ago the attempt ended, in seconds; 0 if it goes on."""
        return 0.0 if self.ended_at is None else now - self.ended_at

    def release(self) -> api.LeaseRef:
        """Return the message that gives the lease back."""
        execution_id = self.lease.execution.execution_id
        return api.LeaseRef(execution_id=execution_id, lease_token=self.lease.lease_token)

    def check_version(self) -> None:
        """Refuse steps that another version of the callable recorded.

        Raises:
            StepVersionError: the lease has such steps.
        """
        theirs, ours = self.lease.schema_version, self.callable.version
        # The texts are compared first: the list of steps is made anew each time that it is read.
        if theirs != ours and self.lease.steps:
            raise StepVersionError(
                f"its steps were recorded by {_version(theirs)} of {self.callable.name}, and this "
                f"worker has {_version(ours)}: redrive the execution with restart, and its steps "
                f"are taken anew (run workers with {_version(theirs)} until the others like it "
                "have ended)"
            )

    def suspension(self) -> api.Suspension:
        """Return the message that suspends the execution."""
        return self.context.suspension()

    def refusal_of(self, error: BaseException) -> api.Failure | None:
        """Return the failure for an error of the input, the output or a step; None for others."""
        match error:
            case StepError():
                return self.refuse(error.code, str(error), error.category)
            case InputError():
                return self.refuse("INVALID_INPUT", str(error))
            case OutputError():
                return self.refuse("INVALID_OUTPUT", str(error))
            case _:
                return None

    def refuse(
        self, code: str, message: str, category: Category = "validation_error"
    ) -> api.Failure:
        """Return a failure of the lease, for a bad input or output."""
        failure = refused(code, message, category)
        failure.execution_id = self.lease.execution.execution_id
        failure.lease_token = self.lease.lease_token
        return failure


def _version(version: str) -> str:
    return f"version {version!r}" if version else "the code without a version"
