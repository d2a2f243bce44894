"""Owns the calls about executions that are there: read, list, wait, cancel, pause, count.

`Calls` has each of them once, as a coroutine. `call_kinds` makes them the methods of `Client` and
of `AsyncClient`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, Unpack

from backlane import errors
from backlane.client.enqueue_request import redrive_request, request_ids
from backlane.client.filters import FindOptions, filter_text
from backlane.client.pages import PAGE_SIZE, Pages, dead_letters_request, list_request
from backlane.client.patience import explained
from backlane.client.times import Slices, call_timeout_s
from backlane.client.waits import (
    IDS_MAX,
    WaitResult,
    ids_of,
    is_bare,
    outcome_of,
    put_in_order,
    wait_request,
)
from backlane.schema.explanation import Explanation
from backlane.schema.limits import Limits
from backlane.schema.named import id_of
from backlane.schema.records import Attempt, BackgroundExecution
from backlane.schema.runs import ExecutionRun
from backlane.schema.stats import QueueStats
from backlane.schema.task import TaskRecord
from backlane.sdk.request import input_text
from backlane.v1 import admin_service_pb2 as admin
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import (
        Iterable,
        Mapping,
        Sequence,
    )
    from datetime import timedelta

    import grpc

    from backlane.client.connection import Connection
    from backlane.client.waits import Until
    from backlane.schema.named import Named
    from backlane.schema.options import RedriveOptions
    from backlane.schema.records import Status
    from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub

P = ParamSpec("P")
T = TypeVar("T")
Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Calls:
    """The calls of one tenant over one connection."""

    def __init__(self, connection: Connection, tenant: str, call_timeout_s: float) -> None:
        """Make calls.

        Args:
            connection: what they go over; it decides whether they block or wait for a loop.
            tenant: whose executions they are about.
            call_timeout_s: how long a call may take, in seconds.
        """
        self.connection: Final = connection
        self.tenant: Final = tenant
        self.call_timeout_s: Final = call_timeout_s

    async def get(self, execution_id: str) -> BackgroundExecution:
        """Read one execution, in full.

        Raises:
            ExecutionNotFoundError: this tenant has none of that id.
        """
        request = api.GetRequest(tenant_id=self.tenant, execution_id=execution_id)
        answer = await self.call(self.stub.Get, request)
        return BackgroundExecution(answer.execution)

    async def attempts(self, execution: Named | str) -> Sequence[Attempt]:
        """Return the attempts of an execution, oldest first.

        The newest 100 are kept, and the one that ended the execution.

        Raises:
            ExecutionNotFoundError: this tenant has none of that id.
            DataDamagedError: an attempt is damaged on the server's disk.
        """
        request = api.ListAttemptsRequest(
            tenant_id=self.tenant, execution_id=id_of(execution), page_size=PAGE_SIZE
        )
        found: list[Attempt] = []
        while True:
            page = await self.call(self.stub.ListAttempts, request)
            found += map(Attempt, page.attempts)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def wait(
        self,
        executions: Iterable[Named | str],
        *,
        until: Until = "all",
        timeout: float | timedelta | None = None,
    ) -> WaitResult:
        """Wait until executions have ended, however they do.

        Args:
            executions: handles or ids; one that is named twice counts once for `until`.
            until: `all`, `any`, or how many. Other than `all` it takes 1 000 at most.
            timeout: how long to wait, in seconds; None waits for ever, 0 looks once.

        Raises:
            ValueError: there is nothing to wait for, or `until` or `timeout` does not fit.
            BacklaneError: the server cannot be asked.
        """
        named = ids_of(executions, until)
        ids = list(dict.fromkeys(named))
        slices = Slices(timeout)
        parts = [
            await self._wait_for(ids[start : start + IDS_MAX], until, slices)
            for start in range(0, len(ids), IDS_MAX)
        ]
        return put_in_order(named, parts)

    async def cancel(self, execution: Named | str) -> BackgroundExecution:
        """End a queued execution, or ask the holder of a running one to stop.

        Raises:
            TransitionNotAllowedError: it has ended already.
            ExecutionNotFoundError: this tenant has none of that id.
        """
        request = api.CancelRequest(tenant_id=self.tenant, execution_id=id_of(execution))
        answer = await self.call(self.stub.Cancel, request)
        return BackgroundExecution(answer.execution)

    async def task_record(self, execution: Named | str) -> TaskRecord:
        """Read one execution as a task record.

        Raises:
            ExecutionNotFoundError: this tenant has none of that id.
        """
        request = api.GetTaskRecordRequest(tenant_id=self.tenant, execution_id=id_of(execution))
        answer = await self.call(self.stub.GetTaskRecord, request)
        return TaskRecord(answer.record)

    async def discard_dead_letters(
        self, executions: Iterable[Named | str]
    ) -> Mapping[str, errors.BacklaneError]:
        """Take executions out of the dead letters; their records stay.

        Returns:
            The ids that could not be discarded, each with the reason; empty if all were.

        Raises:
            TypeError: a single id was given in place of a list.
            BacklaneError: the server cannot be asked.
        """
        if isinstance(executions, str):
            raise TypeError(f"executions must be a list of ids or handles, not {executions!r}")
        ids = list(dict.fromkeys(map(id_of, executions)))
        refused: dict[str, errors.BacklaneError] = {}
        for start in range(0, len(ids), IDS_MAX):
            part = ids[start : start + IDS_MAX]
            request = api.DiscardDeadLettersRequest(tenant_id=self.tenant, execution_ids=part)
            answer = await self.call(self.stub.DiscardDeadLetters, request)
            for execution_id, outcome in zip(part, answer.outcomes, strict=True):
                if outcome.HasField("status"):
                    refused[execution_id] = errors.from_status(outcome.status)
        return refused

    async def delete(self, execution: Named | str) -> None:
        """Delete an execution that is over: its record, its attempts and its run.

        It is as if the retention of finished executions had removed it: a dependent that is
        redriven does not wait for it, and a parent that awaits it as a child cannot read its
        output.

        Raises:
            TransitionNotAllowedError: it is unfinished.
            ExecutionNotFoundError: this tenant has none of that id, or no longer.
        """
        request = api.DeleteRequest(tenant_id=self.tenant, execution_id=id_of(execution))
        await self.call(self.stub.Delete, request)

    async def redriven(
        self, execution: Named | str, given: object, options: RedriveOptions
    ) -> api.RedriveResponse:
        """Redrive an execution; see `Client.redrive`."""
        request = redrive_request(self.tenant, id_of(execution), given, options)
        timeout = options.get("call_timeout")
        timeout_s = None if timeout is None else call_timeout_s(timeout)
        return await self.call(self.stub.Redrive, request, timeout_s)

    async def explain(self, execution: Named | str) -> Explanation:
        """Say why an execution waits: typed reasons with values, the most decisive first.

        Raises:
            ExecutionNotFoundError: this tenant has none of that id.
        """
        request = api.ExplainRequest(tenant_id=self.tenant, execution_id=id_of(execution))
        return Explanation(await self.call(self.stub.Explain, request))

    async def execution_run(self, execution: Named | str) -> ExecutionRun:
        """Return what happened inside an execution: its run, with all steps.

        Raises:
            ExecutionNotFoundError: this tenant has none of that id.
        """
        request = api.GetExecutionRunRequest(tenant_id=self.tenant, execution_id=id_of(execution))
        answer = await self.call(self.stub.GetExecutionRun, request)
        return ExecutionRun(answer.execution)

    async def provide_input(
        self, execution: Named | str, key: str, value: object, *, request_id: str | None = None
    ) -> BackgroundExecution:
        """Provide an input that an execution waits for, or will wait for.

        Args:
            execution: a handle or an id.
            key: the input's key, which the wait names.
            value: the input: anything that pydantic turns into JSON and back, or a `RawInput`.
            request_id: makes the call safe to repeat, also by another process; generated if absent.

        Raises:
            InvalidInputError: the input is not JSON; nothing was sent.
            AlreadyExistsError: there is another input of that key, and no wait has taken it yet.
            TransitionNotAllowedError: the execution has ended.
            ExecutionNotFoundError: this tenant has none of that id.
        """
        request = api.ProvideInputRequest(
            tenant_id=self.tenant,
            execution_id=id_of(execution),
            key=key,
            value=input_text(value),
            request_id=request_id or next(request_ids()),
        )
        answer = await self.call(self.stub.ProvideInput, request)
        return BackgroundExecution(answer.execution)

    async def pause(self, execution: Named | str) -> BackgroundExecution:
        """Pause an execution: no worker gets it until it is resumed.

        A worker that runs it yields at its next step.

        Raises:
            TransitionNotAllowedError: it has ended, or waits without a worker.
            ExecutionNotFoundError: this tenant has none of that id.
        """
        request = api.PauseRequest(tenant_id=self.tenant, execution_id=id_of(execution))
        answer = await self.call(self.stub.Pause, request)
        return BackgroundExecution(answer.execution)

    async def resume(self, execution: Named | str) -> BackgroundExecution:
        """Resume a paused execution, or end all waits of one that waits, without an input.

        Raises:
            TransitionNotAllowedError: it is neither paused nor waiting.
            ExecutionNotFoundError: this tenant has none of that id.
        """
        request = api.ResumeRequest(tenant_id=self.tenant, execution_id=id_of(execution))
        answer = await self.call(self.stub.Resume, request)
        return BackgroundExecution(answer.execution)

    async def peek(
        self, *, limit: int = 10, callables: Sequence[str] = ()
    ) -> Sequence[BackgroundExecution]:
        """Return the next executions in the order they would be leased, leasing none.

        Args:
            limit: how many at most, 1 to 1 000.
            callables: the callables to look at: names, `prefix.*` or `*`; none means all.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        request = api.PeekRequest(tenant_id=self.tenant, limit=limit, callables=callables)
        answer = await self.call(self.stub.Peek, request)
        shown = [BackgroundExecution(proto) for proto in answer.executions]
        return [await self.get(one.execution_id) if is_bare(one) else one for one in shown]

    async def count(
        self, *, status: Status | str | None = None, **options: Unpack[FindOptions]
    ) -> int:
        """Count executions, finished ones too. Each is looked at once, at some time of the call.

        Args:
            status: the status to count; None for every one.
            options: which executions to count; see `FindOptions`.

        Raises:
            InvalidArgumentError: the filter cannot be read; the message points at the character.
            DataDamagedError: damage on the server's disk hides whether an execution counts.
        """
        where = filter_text(options, status)
        request = api.CountRequest(tenant_id=self.tenant, filter=where)
        return (await self.call(self.stub.Count, request)).count

    async def stats(self) -> QueueStats:
        """Count the tenant's unfinished executions."""
        request = api.GetQueueStatsRequest(tenant_id=self.tenant)
        return QueueStats(await self.call(self.stub.GetQueueStats, request))

    async def set_limits(
        self, callable_name: str | None = None, *, max_running: int | None
    ) -> Limits:
        """Set or lift the limit on how many executions run at once.

        What runs already goes on. What a limit holds back keeps its place, and holds up nobody
        else.

        Args:
            callable_name: the callable to limit; None limits the tenant as a whole.
            max_running: how many at most; 0 lets none begin, and None lifts the limit.

        Returns:
            The limits as they are now.

        Raises:
            ValueError: the number is out of range.
            InvalidArgumentError: the name breaks its rule, or the tenant has 1 000 limits already.
        """
        if max_running is not None and not 0 <= max_running < 1 << 32:
            raise ValueError(f"max_running must be from 0 to {(1 << 32) - 1}, not {max_running}")
        request = admin.SetLimitsRequest(
            tenant_id=self.tenant, callable_name=callable_name or "", max_running=max_running
        )
        answer = await self.call(self.connection.opened().admin.SetLimits, request)
        return Limits(answer.limits)

    async def limits(self) -> Sequence[Limits]:
        """Return the tenant's limits: that of the tenant as a whole first, then by callable."""
        request = admin.ListLimitsRequest(tenant_id=self.tenant)
        answer = await self.call(self.connection.opened().admin.ListLimits, request)
        return [Limits(proto) for proto in answer.limits]

    def pages(
        self,
        status: Status | str | None,
        limit: int | None,
        *,
        full: bool,
        parent: Named | str | None = None,
        options: FindOptions | None = None,
    ) -> Pages:
        """Begin to list executions; see `Client.list`."""
        where = filter_text(options or {})
        request = list_request(self.tenant, status, limit, full=full, parent=parent, where=where)
        return Pages(functools.partial(self.call, self.stub.List), request, limit)

    def dead_pages(self, callable_name: str | None, limit: int | None, *, full: bool) -> Pages:
        """Begin to list dead letters; see `Client.dead_letters`."""
        request = dead_letters_request(self.tenant, callable_name, limit, full=full)
        return Pages(functools.partial(self.call, self.stub.ListDeadLetters), request, limit)

    async def finished(self, execution_id: str, slices: Slices) -> BackgroundExecution:
        """Wait until one execution has ended, and read it in full.

        Raises:
            NotFinishedError: the time of the wait is over.
            BacklaneError: the server cannot be asked, or knows none of that id.
        """
        part = await self._wait_for([execution_id], "all", slices)
        [outcome] = part.outcomes
        if isinstance(outcome, errors.BacklaneError):
            raise self.explained(outcome)
        if not part.satisfied:
            raise errors.NotFinishedError(execution_id, outcome.status, slices.timeout_s or 0.0)
        return await self.get(execution_id)

    async def _wait_for(self, ids: Sequence[str], until: Until, slices: Slices) -> WaitResult:
        request = wait_request(self.tenant, ids, until)
        while True:
            answer = await self.call(self.stub.Wait, request, slices=slices)
            if answer.satisfied or slices.is_over:
                break
        outcomes = [outcome_of(outcome) for outcome in answer.outcomes]
        shown = [
            await self.get(ids[index]) if is_bare(outcome) else outcome
            for index, outcome in enumerate(outcomes)
        ]
        return WaitResult(shown, answer.satisfied)

    @property
    def stub(self) -> ExecutionServiceStub:
        """The methods of the service, for `call`."""
        return self.connection.opened().stub

    async def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        timeout_s: float | None = None,
        slices: Slices | None = None,
    ) -> Answer:
        """Make a call of the stub; see `Connection.call`."""
        timeout_s = self.call_timeout_s if timeout_s is None else timeout_s
        return await self.connection.opened().call(method, request, timeout_s, slices)

    def explained(self, error: errors.BacklaneError) -> errors.BacklaneError:
        """Return an error as a person needs it, in an instance of its own that can be raised."""
        shown = explained(error, self.connection.endpoint.target)
        return type(shown)(shown.parts)
