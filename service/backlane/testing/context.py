"""Owns the context of no execution, with which a test calls a callable as a plain function."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backlane.schema.values import to_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.context import Context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backlane.worker.context import StopReason

EXECUTION_ID = "exec_000000000000000000000000000"
"""The id that a context has where a test sets none: of the right form, and nobody's."""


class FakeContext(Context):
    """A `backlane.Context` of a test's own making. It needs no server.

    Attributes:
        records: what the callable logged with `ctx.log`, of every level. It goes to the loggers of
            the program as well.

    Example:
        def remind(ctx: backlane.Context, name: str) -> str:
            ctx.check_cancelled()
            return f"{ctx.tenant_id} reminds {name}, attempt {ctx.attempt}"

        assert remind(FakeContext(attempt=2), "Ada") == "test reminds Ada, attempt 2"
    """

    __slots__ = ("_logger", "records")

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
        deadline: datetime | None = None,
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
            deadline: the same as an aware instant, and in place of it.

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
        if deadline is not None:
            remaining = (deadline - datetime.now(UTC)).total_seconds()
        super().__init__(api.Lease(execution=execution, attempt=attempt), worker_id, remaining)
        self.records: list[logging.LogRecord] = []
        self._logger = _logger_into(self.records, super().log.logger)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger of a callable, which keeps its lines in `records`."""
        bound = super().log
        bound.logger = self._logger
        return bound

    @property
    def messages(self) -> list[str]:
        """What was logged, as the callable said it: without the execution's name in front."""
        front = f"{self.callable_name} {self.execution_id}: "
        return [record.getMessage().removeprefix(front) for record in self.records]

    def cancel(self, reason: StopReason = "requested") -> None:
        """Ask the callable to stop, as a client's cancel does.

        Plain functions see it. An async callable is cancelled as any other task is: a worker, too,
        calls `cancel` of the task that awaits it.

        Args:
            reason: why, as `stop_reason` will tell.
        """
        self.stop(reason)


class _Recorder(logging.Handler):
    """Keeps records in a list."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


def _logger_into(records: list[logging.LogRecord], parent: logging.Logger) -> logging.Logger:
    """Make a logger of nobody else's that keeps its records, and hands them on to another."""
    logger = logging.Logger(parent.name, logging.DEBUG)  # noqa: LOG001  # it ends with its context
    logger.addHandler(_Recorder(records))
    logger.parent = parent
    return logger
