"""Owns the context of no execution, with which a test calls a callable as a plain function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backlane.schema.values import to_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.context import Context

if TYPE_CHECKING:
    from collections.abc import Mapping

EXECUTION_ID = "exec_000000000000000000000000000"
"""The id that a context has where a test sets none: of the right form, and nobody's."""


class FakeContext(Context):
    """A `backlane.Context` of a test's own making. It needs no server.

    Example:
        def remind(ctx: backlane.Context, name: str) -> str:
            ctx.check_cancelled()
            return f"{ctx.tenant_id} reminds {name}, attempt {ctx.attempt}"

        assert remind(FakeContext(attempt=2), "Ada") == "test reminds Ada, attempt 2"
    """

    __slots__ = ()

    def __init__(  # noqa: PLR0913  # one for each thing that a context tells
        self,
        *,
        execution_id: str = EXECUTION_ID,
        tenant_id: str = "test",
        callable_name: str = "test",
        worker_id: str = "test",
        attempt: int = 1,
        input: str | None = None,  # noqa: A002  # as the context names it
        context: Mapping[str, str] | None = None,
        metadata: Mapping[str, object] | None = None,
        remaining: float = 3600.0,
    ) -> None:
        """Describe an attempt.

        Args:
            execution_id: the execution.
            tenant_id: whose it is.
            callable_name: the name it was enqueued under.
            worker_id: the worker's name.
            attempt: the ordinal of this run, from 1.
            input: the input as it was sent; the function is given its own by the test.
            context: texts, as an enqueue has them.
            metadata: JSON values, as an enqueue has them.
            remaining: how long the attempt may still run, in seconds from now.

        Raises:
            NotJsonError: some metadata is no JSON value.
        """
        execution = records.BackgroundExecution(
            execution_id=execution_id,
            tenant_id=tenant_id,
            callable_name=callable_name,
            input=input,
            context=context,
            metadata={name: to_value(value) for name, value in (metadata or {}).items()},
        )
        super().__init__(api.Lease(execution=execution, attempt=attempt), worker_id, remaining)

    def cancel(self) -> None:
        """Ask the callable to stop, as a client's cancel does."""
        self.stop("requested")
