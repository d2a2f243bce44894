"""Owns a context without an execution, for tests that call a callable as a function."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import from_json

from backlane.errors import NoInputError
from backlane.schema.dump import dump_text
from backlane.schema.values import to_value
from backlane.sdk.target import load
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.context import Context
from backlane.worker.reports import wake
from backlane.worker.spawning import Child, Parent
from backlane.worker.stepping import is_in_loop, load_input

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from backlane.sdk.target import Target
    from backlane.v1 import execution_service_pb2 as spawning
    from backlane.worker.context import StopReason
    from backlane.worker.kin import Kin
    from backlane.worker.reports import Entry, Trail, Waiter

EXECUTION_ID = "exec_000000000000000000000000000"
"""The id in a context whose test sets none. It has the right form, and no execution has it."""


class FakeContext(Context):
    """A `backlane.Context` that a test makes itself, without a server.

    Its steps run their functions and remember nothing. Its sleeps end at once, its waits for input
    get what the test has given, and so do those for children.

    Attributes:
        spawned: the children that it spawned, each as the name of a callable and its input as sent.
        records: the log records of `ctx.log`, of every level. The program's loggers get them too.
        progressed: what `ctx.progress` reported, each as a fraction and a message.
        slept: what the callable slept: seconds, or the instant until which it did.

    Example:
        def remind(ctx: backlane.Context, name: str) -> str:
            ctx.check_cancelled()
            return f"{ctx.tenant_id} reminds {name}, attempt {ctx.attempt}"

        assert remind(FakeContext(attempt=2), "Ada") == "test reminds Ada, attempt 2"
    """

    __slots__ = ("_children", "_inputs", "_logger", "progressed", "records", "slept", "spawned")

    def __init__(  # noqa: PLR0913  # one for each field of a context
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
        traceparent: str | None = None,
        remaining: float = 3600.0,
        deadline: datetime | None = None,
        inputs: Mapping[str, object] | None = None,
        children: Mapping[str, object] | None = None,
    ) -> None:
        """Make the context of an attempt.

        Args:
            execution_id: the execution's id.
            tenant_id: the execution's tenant.
            callable_name: the name with which the execution was enqueued.
            worker_id: the worker's id.
            attempt: the number of the attempt, from 1.
            input: the input as it was sent. The test passes the function's input itself.
            context: the enqueue's texts.
            metadata: the enqueue's JSON values.
            traceparent: the enqueue's W3C trace context.
            remaining: how long the attempt may still run, in seconds.
            deadline: the end of the attempt as an aware instant; replaces `remaining`.
            inputs: the inputs that the callable waits for, by key. A wait with a timeout and
                without an input raises `NoInputError`.
            children: the outputs of its children, by the names of their callables. An exception
                is raised where the callable awaits the child, and a function is called with the
                input as it was sent.

        Raises:
            NotJsonError: a metadata value is not JSON.
        """
        execution = records.BackgroundExecution(
            execution_id=execution_id,
            tenant_id=tenant_id,
            callable_name=callable_name,
            input=input,
            context=context,
            metadata={name: to_value(value) for name, value in (metadata or {}).items()},
            traceparent=traceparent,
        )
        if deadline is not None:
            remaining = (deadline - datetime.now(UTC)).total_seconds()
        lease = api.Lease(execution=execution, attempt=attempt)
        self.progressed: list[tuple[float | None, str]] = []
        super().__init__(lease, worker_id, remaining, _Recorded(self.progressed))
        self.records: list[logging.LogRecord] = []
        self.slept: list[float | datetime] = []
        self.spawned: list[tuple[str, str | None]] = []
        self._children = dict(children or {})
        self._inputs = {key: dump_text(value) for key, value in (inputs or {}).items()}
        self._logger = _logger_into(self.records, super().log.logger)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger of a callable, which also keeps its records in `records`."""
        bound = super().log
        bound.logger = self._logger
        return bound

    @property
    def messages(self) -> list[str]:
        """The logged messages, without the name of the execution in front."""
        front = f"{self.callable_name} {self.execution_id}: "
        return [record.getMessage().removeprefix(front) for record in self.records]

    def _sleep(
        self, key: str | None, *, seconds: float | None = None, until: datetime | None = None
    ) -> Awaitable[None]:
        del key
        slept = until if seconds is None else seconds
        if slept is not None:
            self.slept.append(slept)
        return asyncio.sleep(0) if is_in_loop() else None  # type: ignore[return-value]

    async def _wait_in_loop(
        self, key: str, reason: int, timeout_s: float | None, kind: object
    ) -> object:
        return self._wait_in_thread(key, reason, timeout_s, kind)

    def _wait_in_thread(
        self, key: str, reason: int, timeout_s: float | None, kind: object
    ) -> object:
        del reason
        if key in self._inputs:
            return load_input(self._inputs[key], key, kind)
        if timeout_s is None:
            raise LookupError(f"no input {key!r} is there: make the FakeContext with inputs=")
        raise NoInputError(key, "its time has passed")

    def _as_parent(self) -> Parent:
        return Parent(self.tenant_id, self.execution_id, "", "", cast("Kin", self))

    async def _spawn(
        self,
        request: spawning.SpawnRequest,
        name: str,
        key: str,
        target: Target | None,
        *,
        in_loop: bool,
    ) -> Child[Any]:
        del name, key, in_loop
        wanted = request.enqueue
        text = wanted.input if wanted.HasField("input") else None
        self.spawned.append((wanted.callable_name, text))
        number = f"{len(self.spawned):027}"
        return Child(self, f"exec_{number}", wanted.callable_name, target)

    async def _await_child(
        self, execution_id: str, target: Target | None, timeout_s: float | None, *, in_loop: bool
    ) -> Any:  # noqa: ANN401  # the callable's own
        del timeout_s, in_loop
        callable_name, text = self.spawned[int(execution_id.removeprefix("exec_")) - 1]
        if callable_name not in self._children:
            raise LookupError(f"{callable_name} has no output: make the FakeContext with children=")
        output = self._children[callable_name]
        if isinstance(output, BaseException):
            raise output
        if callable(output):
            output = output(text)
        return load(target, from_json(dump_text(output)))

    def cancel(self, reason: StopReason = "requested") -> None:
        """Ask the callable to stop, as a client's cancel does.

        Plain functions have to check for it. To stop an async callable, also cancel the task that
        awaits it, as a worker does.

        Args:
            reason: the value of `stop_reason`.
        """
        self.stop(reason)


class _Recorded:
    """Takes reports of steps as a server does that records each of them at once."""

    def __init__(self, progressed: list[tuple[float | None, str]]) -> None:
        self._progressed = progressed

    def report(self, trail: Trail, entries: Iterable[Entry], *, is_urgent: bool) -> None:
        """End the waits for the report."""
        del trail, is_urgent
        wake((entry.waiter, None) for entry in entries if entry.waiter is not None)

    def flush(self, trail: Trail, waiter: Waiter) -> None:
        """End the wait."""
        del trail
        wake([(waiter, None)])

    def advance(self, report: api.ProgressReport) -> None:
        """Keep the progress."""
        fraction = report.fraction if report.HasField("fraction") else None
        self._progressed.append((fraction, report.message))


class _Recorder(logging.Handler):
    """Keeps log records in a list."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


def _logger_into(records: list[logging.LogRecord], parent: logging.Logger) -> logging.Logger:
    """Make a new logger that keeps its records and passes them on to another logger."""
    logger = logging.Logger(parent.name, logging.DEBUG)  # noqa: LOG001  # for this context
    logger.addHandler(_Recorder(records))
    logger.parent = parent
    return logger
