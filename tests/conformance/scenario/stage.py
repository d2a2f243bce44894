"""Plays the lines of a scenario on a server, through a channel.

Owns what each verb does and what it answers, in words. Refuses to compare.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from backlane.errors import BacklaneError, from_rpc_error, from_status
from backlane.v1 import admin_service_pb2 as admin
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from backlane.v1.admin_service_pb2_grpc import AdminServiceStub
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.conformance.scenario import reasons, requests, runs
from tests.conformance.scenario.script import Line, Word, keyed, milliseconds, text
from tests.conformance.scenario.view import NONE, instant, show, show_task, status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backlane.v1 import execution_pb2 as records
    from backlane.v1.admin_service_pb2_grpc import AdminServiceAsyncStub
    from backlane.v1.execution_service_pb2_grpc import ExecutionServiceAsyncStub
    from backlane.v1.worker_service_pb2_grpc import WorkerServiceAsyncStub
    from tests.conformance.scenario.stand import Stand

TIMEOUT_S = 20
NOTHING = "nothing"


@dataclass
class Answer:
    """What a line answered."""

    words: list[str] = field(default_factory=list)
    fields: dict[str, object] = field(default_factory=dict)


class Stage:
    """A server, and what the executions on it are called."""

    def __init__(self, stand: Stand) -> None:
        """Begin a scenario."""
        self._stand = stand
        self._ids: dict[str, str] = {}
        self._tenants: dict[str, str] = {}
        self._tokens: dict[tuple[str, int], str] = {}
        self._attempts: dict[str, int] = {}

    async def play(self, line: Line) -> Answer:
        """Play one line; a refusal is an answer."""
        try:
            answer: Answer = await getattr(self, f"_{line.verb}")(line)
        except grpc.aio.AioRpcError as error:
            return _refused(from_rpc_error(error))
        return answer

    @property
    def _producer(self) -> ExecutionServiceAsyncStub:
        return ExecutionServiceStub(self._stand.channel)

    @property
    def _worker(self) -> WorkerServiceAsyncStub:
        return WorkerServiceStub(self._stand.channel)

    @property
    def _operator(self) -> AdminServiceAsyncStub:
        return AdminServiceStub(self._stand.channel)

    async def _enqueue(self, line: Line) -> Answer:
        request = requests.enqueue(line.words, self._stand.now_ms)
        requests.depend(request, line.words, self._ids, [])
        response = await self._producer.Enqueue(request, timeout=TIMEOUT_S)
        return Answer([self._met(line.plain(), response)])

    async def _spawn(self, line: Line) -> Answer:
        enqueue = requests.enqueue(line.words, self._stand.now_ms)
        requests.depend(enqueue, line.words, self._ids, [])
        parent = self._held_by(line.get("parent"), line.get("token"))
        request = api.SpawnRequest(
            enqueue=enqueue,
            mode=api.SpawnMode(child=api.SpawnChild(background=True)),
            parent_execution_id=parent.execution_id,
            lease_token=parent.lease_token,
            step=runs.spawning_step(line),
        )
        response = await self._producer.Spawn(request, timeout=TIMEOUT_S)
        made = api.EnqueueResponse(execution=response.execution, existing=response.existing)
        return Answer([self._met(line.plain(), made)])

    async def _batch(self, line: Line) -> Answer:
        head, *parts = _parted(line.words)
        request = api.EnqueueBatchRequest(
            tenant_id="acme",
            request_id=keyed(head).get("request_id", ""),
            items=[requests.enqueue(part, self._stand.now_ms) for part in parts],
        )
        names = [part[0].value for part in parts]
        for item, part in zip(request.items, parts, strict=True):
            requests.depend(item, part, self._ids, names)
        response = await self._producer.EnqueueBatch(request, timeout=TIMEOUT_S)
        made = zip(parts, response.results, strict=True)
        met = [self._met(part[0].value, result) for part, result in made]
        return Answer([*(["repeated"] if response.existing else []), *met])

    def _met(self, name: str, response: api.EnqueueResponse) -> str:
        """Bind a name to what an enqueue came to, and tell what that was."""
        execution_id = response.execution.execution_id
        known = sorted(known for known, bound in self._ids.items() if bound == execution_id)
        self._ids[name] = execution_id
        self._tenants[execution_id] = response.execution.tenant_id
        return f"existing:{known[0]}" if response.existing else "new"

    async def _lease(self, line: Line) -> Answer:
        response = await self._worker.Lease(requests.lease(line), timeout=TIMEOUT_S)
        answer = Answer([self._granted(lease, line.plain()) for lease in response.leases])
        if not answer.words:
            return Answer([NOTHING])
        last = response.leases[-1]
        answer.fields["attempt"] = str(last.attempt)
        answer.fields["expires"] = instant(last.lease_expires_at, self._stand.now_ms)
        answer.fields["attempt_deadline"] = instant(last.attempt_deadline, self._stand.now_ms)
        answer.fields |= _left(last)
        answer.fields["steps"] = runs.listed(last.steps)
        return answer

    def _granted(self, lease: work.Lease, worker: str) -> str:
        record = lease.execution
        assert (record.attempt, record.worker_id) == (lease.attempt, worker)
        self._tokens[record.execution_id, lease.attempt] = lease.lease_token
        self._attempts[record.execution_id] = lease.attempt
        return self._name(record)

    def _name(self, record: records.BackgroundExecution) -> str:
        return self._name_of(record.execution_id)

    def _name_of(self, execution_id: str) -> str:
        named = {bound: name for name, bound in sorted(self._ids.items(), reverse=True)}
        return named[execution_id]

    def _held(self, line: Line) -> work.LeaseRef:
        return self._held_by(line.plain(), line.get("token"))

    def _held_by(self, name: str, token: str) -> work.LeaseRef:
        execution_id = self._ids[name]
        asked = token or str(self._attempts[execution_id])
        token = asked if asked == "garbage" else self._tokens[execution_id, int(asked)]
        return work.LeaseRef(execution_id=execution_id, lease_token=token)

    async def _renew(self, line: Line) -> Answer:
        duration = line.get("duration")
        request = work.RenewLeasesRequest(
            leases=[self._held(line)], lease_duration_ms=milliseconds(duration) if duration else 0
        )
        response = await self._worker.RenewLeases(request, timeout=TIMEOUT_S)
        return self._settled(response.outcomes)

    async def _complete(self, line: Line) -> Answer:
        held, output = self._held(line), requests.output(line.get("output"))
        result = work.CompleteResult(
            execution_id=held.execution_id, lease_token=held.lease_token, output=output
        )
        request = work.CompleteRequest(results=[result])
        response = await self._worker.Complete(request, timeout=TIMEOUT_S)
        return self._settled(response.outcomes)

    async def _fail(self, line: Line) -> Answer:
        request = work.FailRequest(failures=[requests.failure(line, self._held(line))])
        response = await self._worker.Fail(request, timeout=TIMEOUT_S)
        return self._settled(response.outcomes)

    async def _release(self, line: Line) -> Answer:
        request = work.ReleaseRequest(releases=[self._held(line)])
        response = await self._worker.Release(request, timeout=TIMEOUT_S)
        return self._settled(response.outcomes)

    async def _steps(self, line: Line) -> Answer:
        request = work.ReportStepsRequest(reports=[runs.report(line, self._held(line))])
        response = await self._worker.ReportSteps(request, timeout=TIMEOUT_S)
        return self._settled(response.outcomes)

    async def _suspend(self, line: Line) -> Answer:
        suspension = runs.suspension(line, self._held(line), self._stand.now_ms, self._ids)
        request = work.SuspendRequest(suspensions=[suspension])
        response = await self._worker.Suspend(request, timeout=TIMEOUT_S)
        return self._settled(response.outcomes)

    async def _input(self, line: Line) -> Answer:
        request = api.ProvideInputRequest(
            tenant_id=line.get("tenant", "acme"),
            execution_id=self._ids[line.plain()],
            key=line.plain(1),
            value=text(line.plain(2)),
            request_id=line.get("request_id"),
        )
        response = await self._producer.ProvideInput(request, timeout=TIMEOUT_S)
        existing = str(response.existing).lower()
        return Answer([status(response.execution.status)], {"existing": existing})

    async def _pause(self, line: Line) -> Answer:
        request = api.PauseRequest(
            tenant_id=line.get("tenant", "acme"), execution_id=self._ids[line.plain()]
        )
        response = await self._producer.Pause(request, timeout=TIMEOUT_S)
        return Answer([status(response.execution.status)])

    async def _resume(self, line: Line) -> Answer:
        request = api.ResumeRequest(
            tenant_id=line.get("tenant", "acme"), execution_id=self._ids[line.plain()]
        )
        response = await self._producer.Resume(request, timeout=TIMEOUT_S)
        return Answer([status(response.execution.status)])

    async def _run(self, line: Line) -> Answer:
        execution_id = self._ids[line.plain()]
        request = api.GetExecutionRunRequest(
            tenant_id=self._tenants[execution_id], execution_id=execution_id
        )
        response = await self._producer.GetExecutionRun(request, timeout=TIMEOUT_S)
        return Answer([], runs.shown(response.execution))

    def _settled(self, outcomes: Sequence[work.LeaseOutcome]) -> Answer:
        [outcome] = outcomes
        if outcome.HasField("status"):
            return _refused(from_status(outcome.status))
        result = outcome.result
        answer = Answer([status(result.status)])
        answer.fields["cancel_requested"] = str(result.cancel_requested).lower()
        answer.fields["pause_requested"] = str(result.pause_requested).lower()
        if result.HasField("lease_expires_at"):
            answer.fields["expires"] = instant(result.lease_expires_at, self._stand.now_ms)
            answer.fields |= _left(result)
        return answer

    async def _cancel(self, line: Line) -> Answer:
        request = api.CancelRequest(
            tenant_id=line.get("tenant", "acme"), execution_id=self._ids[line.plain()]
        )
        response = await self._producer.Cancel(request, timeout=TIMEOUT_S)
        return Answer([status(response.execution.status)])

    async def _progress(self, line: Line) -> Answer:
        request = work.ReportProgressRequest(reports=[requests.progress(line, self._held(line))])
        response = await self._worker.ReportProgress(request, timeout=TIMEOUT_S)
        return self._settled(response.outcomes)

    async def _redrive(self, line: Line) -> Answer:
        request = requests.redrive(line, self._ids[line.get("of")])
        response = await self._producer.Redrive(request, timeout=TIMEOUT_S)
        names = [name for name in line.get("with_dependents", "none").split(",") if name != "none"]
        for name, execution_id in zip(names, response.dependent_ids, strict=True):
            self._ids[name] = execution_id
            self._tenants[execution_id] = response.execution.tenant_id
        made = api.EnqueueResponse(execution=response.execution, existing=response.existing)
        return Answer([self._met(line.plain(), made)])

    async def _discard(self, line: Line) -> Answer:
        request = api.DiscardDeadLettersRequest(
            tenant_id=line.get("tenant", "acme"), execution_ids=[self._ids[line.plain()]]
        )
        response = await self._producer.DiscardDeadLetters(request, timeout=TIMEOUT_S)
        [outcome] = response.outcomes
        if outcome.HasField("status"):
            return _refused(from_status(outcome.status))
        return Answer(["discarded"])

    async def _delete(self, line: Line) -> Answer:
        request = api.DeleteRequest(
            tenant_id=line.get("tenant", "acme"), execution_id=self._ids[line.plain()]
        )
        await self._producer.Delete(request, timeout=TIMEOUT_S)
        return Answer(["deleted"])

    async def _find(self, line: Line) -> Answer:
        request = api.ListRequest(tenant_id=line.get("tenant", "acme"), filter=text(line.plain()))
        response = await self._producer.List(request, timeout=TIMEOUT_S)
        return Answer([self._name(record) for record in response.executions] or [NOTHING])

    async def _count(self, line: Line) -> Answer:
        request = api.CountRequest(tenant_id=line.get("tenant", "acme"), filter=text(line.plain()))
        response = await self._producer.Count(request, timeout=TIMEOUT_S)
        return Answer([str(response.count)])

    async def _dead_letters(self, line: Line) -> Answer:
        request = api.ListDeadLettersRequest(
            tenant_id=line.get("tenant", "acme"), callable_name=line.get("callable")
        )
        response = await self._producer.ListDeadLetters(request, timeout=TIMEOUT_S)
        return Answer([self._name(record) for record in response.executions] or [NOTHING])

    async def _task(self, line: Line) -> Answer:
        execution_id = self._ids[line.plain()]
        request = api.GetTaskRecordRequest(
            tenant_id=self._tenants[execution_id], execution_id=execution_id
        )
        response = await self._producer.GetTaskRecord(request, timeout=TIMEOUT_S)
        now_ms = self._stand.now_ms
        shown = {key: show_task(response.record, key, now_ms) for key in keyed(line.words)}
        return Answer([], shown)

    async def _advance(self, line: Line) -> Answer:
        self._stand.advance(milliseconds(line.plain()))
        return Answer()

    async def _restart(self, line: Line) -> Answer:
        await self._stand.restart(milliseconds(line.get("downtime", "0ms")))
        return Answer()

    async def _expect(self, line: Line) -> Answer:
        execution_id = self._ids[line.plain()]
        request = api.GetRequest(tenant_id=self._tenants[execution_id], execution_id=execution_id)
        response = await self._producer.Get(request, timeout=TIMEOUT_S)
        keys = [key for key in keyed(line.words) if not key.startswith("engine.")]
        now_ms = self._stand.now_ms
        shown = {key: show(response.execution, key, now_ms) for key in keys}
        if shown.get("retried_from", NONE) != NONE:
            shown["retried_from"] = self._name_of(response.execution.retried_from)
        return Answer([], shown)

    async def _peek(self, line: Line) -> Answer:
        request = api.PeekRequest(
            tenant_id=line.get("tenant", "acme"),
            limit=int(line.get("limit", "100")),
            callables=line.get("callables", "*").split(","),
        )
        response = await self._producer.Peek(request, timeout=TIMEOUT_S)
        return Answer([self._name(record) for record in response.executions] or [NOTHING])

    async def _limit(self, line: Line) -> Answer:
        most = line.get("max")
        request = admin.SetLimitsRequest(
            tenant_id=line.get("tenant", "acme"),
            callable_name=line.get("callable", ""),
            max_running=None if most == NONE else int(most),
        )
        await self._operator.SetLimits(request, timeout=TIMEOUT_S)
        return Answer()

    async def _explain(self, line: Line) -> Answer:
        execution_id = self._ids[line.plain()]
        request = api.ExplainRequest(
            tenant_id=self._tenants[execution_id], execution_id=execution_id
        )
        response = await self._producer.Explain(request, timeout=TIMEOUT_S)
        answer = Answer()
        for reason in response.reasons:
            kind, fields = reasons.worded(reason, self._stand.now_ms, self._name_of)
            answer.words.append(kind)
            answer.fields |= fields
        return answer if answer.words else Answer([NOTHING])

    async def _stats(self, line: Line) -> Answer:
        request = api.GetQueueStatsRequest(tenant_id=line.get("tenant", "acme"))
        stats = await self._producer.GetQueueStats(request, timeout=TIMEOUT_S)
        names = ("ready", "pending", "retrying", "running", "suspended", "held", "ending")
        answer = Answer([], {name: str(getattr(stats, name)) for name in names})
        oldest = stats.oldest_queued_at if stats.HasField("oldest_queued_at") else None
        answer.fields["oldest"] = instant(oldest, self._stand.now_ms) if oldest else NONE
        return answer


def _parted(words: list[Word]) -> list[list[Word]]:
    parts: list[list[Word]] = [[]]
    for word in words:
        if word == Word(None, ";"):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _refused(error: BacklaneError) -> Answer:
    return Answer(["error", error.reason], dict(error.metadata))


def _left(ends: work.Lease | work.LeaseResult) -> dict[str, str]:
    """What is left of a lease and of its attempt."""
    return {
        "lease_left": f"+{ends.lease_remaining_ms}ms",
        "attempt_left": f"+{ends.attempt_remaining_ms}ms",
    }
