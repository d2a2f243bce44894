"""A server for a worker's crew, in memory: it leases one execution, and records steps and waits."""

from __future__ import annotations

import copy
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from backlane.schema.values import to_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as producing
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.book import Book
from backlane.worker.callable import BackgroundCallable
from backlane.worker.crew import Crew
from backlane.worker.kin import Kin
from backlane.worker.results import results_of
from backlane.worker.stream import WorkStream
from backlane.worker.threads import DaemonPool
from backlane.worker.watchdog import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
    from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub

PATIENCE_S = 10


class Call:
    """The worker's side of a stream."""

    def __init__(self, answers: Iterator[api.WorkResponse]) -> None:
        self._answers = answers

    def __iter__(self) -> Iterator[api.WorkResponse]:
        return self._answers

    def cancel(self) -> None:
        """End nothing: the stream ends when the worker's messages do."""


class _Broken(grpc.RpcError):
    """A call that never reached the server, or whose answer was lost."""

    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__()
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "away"

    def trailing_metadata(self) -> tuple[()]:
        return ()


class _Method:
    """A unary call, which blocks or has a future."""

    def __init__(self, host: Host, answer: Callable[[Any], Any]) -> None:
        self._host = host
        self._answer = answer

    def __call__(self, request: Any, **_: Any) -> Any:  # noqa: ANN401  # of any call
        # The answer of a call that breaks may be lost after it took effect.
        answer = self._answer(request)
        if self._host.away:
            raise _Broken(self._host.away.pop())
        return answer

    def future(self, request: Any, **_: Any) -> Future[Any]:  # noqa: ANN401  # of any call
        made: Future[Any] = Future()
        try:
            made.set_result(self(request))
        except grpc.RpcError as error:
            made.set_exception(error)
        return made


class _Producer:
    """The calls about children."""

    def __init__(self, host: Host) -> None:
        self.Spawn = _Method(host, host.spawn)
        self.Get = _Method(
            host,
            lambda request: producing.GetResponse(execution=host.children[request.execution_id]),
        )


class Host:
    """Leases one execution again and again, with what was recorded of it.

    Attributes:
        steps: the recorded steps, in order.
        messages: the messages of the worker, without heartbeats, credit and hello.
        refuse: asked for the refusal of each report; None records it.
        children: the children, by id.
        away: how the next calls about children fail before they reach the server.
    """

    def __init__(self) -> None:
        self.steps: dict[str, records.Step] = {}
        self.messages: list[api.WorkRequest] = []
        self.refuse: Callable[[api.StepReport], status_pb2.Status | None] = lambda _: None
        self.refuse_result: Callable[[Any], status_pb2.Status | None] = lambda _: None
        self.version = ""
        self.pause_requested = False
        self.outbox: deque[api.WorkResponse] = deque()
        self._results: deque[Any] = deque()
        self._has_result = threading.Semaphore(0)
        self._leases = 0
        self._sequence = 0
        self._lost: set[str] = set()
        self._spawned: dict[str, str] = {}
        self.children: dict[str, records.BackgroundExecution] = {}
        self.away: list[grpc.StatusCode] = []
        self._thread = LoopThread()
        self.book = Book(4, silence_s=0.01)
        self.callables: dict[str, BackgroundCallable[..., Any]] = {}
        pool = DaemonPool(4, "test")
        kin = Kin(cast("ExecutionServiceStub", _Producer(self)))
        loop = self._thread.loop
        self.crew = Crew(self.book, self.callables, "w", 30.0, loop, pool, kin=kin)
        stub = cast("WorkerServiceStub", self)
        self._stream = WorkStream(stub, api.WorkHello(), self.book, self.crew)
        self._reader = threading.Thread(target=self._stream.run, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """End the stream and the loop."""
        self.book.drain()
        self._stream.cut()
        self.book.give_up_stream()
        self._reader.join(PATIENCE_S)
        self._thread.stop(PATIENCE_S)

    # For tests.

    def lease(
        self, function: Callable[..., Any], text: str | None = None, *, version: str | None = None
    ) -> str:
        """Lease an execution of a function, and return the token."""
        self.callables["work"] = BackgroundCallable(function, name="work", version=version)
        self._leases += 1
        self._sequence = 0
        token = f"t{self._leases}"
        lease = api.Lease(
            execution=records.BackgroundExecution(
                execution_id="exec_a", callable_name="work", input=text
            ),
            lease_token=token,
            attempt=1,
            attempt_remaining_ms=60_000,
            steps=[copy.deepcopy(step) for step in self.steps.values()],
            schema_version=self.version,
            pause_requested=self.pause_requested,
        )
        self.outbox.append(api.WorkResponse(leases=api.WorkLeases(leases=[lease])))
        return token

    def result(self) -> Any:  # noqa: ANN401  # of any kind
        """Wait for the next result."""
        assert self._has_result.acquire(timeout=PATIENCE_S)
        return self._results.popleft()

    def run(
        self, function: Callable[..., Any], text: str | None = None, *, version: str | None = None
    ) -> Any:  # noqa: ANN401  # of any kind
        """Lease an execution, and return the result."""
        self.lease(function, text, version=version)
        return self.result()

    def lose(self, token: str) -> None:
        """Take the lease away; its running steps have failed."""
        self._lost.add(token)
        self._end_attempt()
        ref = api.LeaseRef(execution_id="exec_a", lease_token=token)
        self.outbox.append(api.WorkResponse(lost=api.WorkLost(leases=[ref])))

    def pause(self, token: str) -> None:
        """Ask the worker to yield."""
        ref = api.LeaseRef(execution_id="exec_a", lease_token=token)
        self.outbox.append(api.WorkResponse(pauses=api.WorkPauses(leases=[ref])))

    def end_wait(self, name: str, output: str | None = None) -> None:
        """End an open wait."""
        step = next(one for one in self.steps.values() if one.name == name and _is_open(one))
        step.state = records.STEP_STATE_COMPLETED
        if output is not None:
            step.output = output

    def end_child(self, child_id: str, output: object = None, *, fails: bool = False) -> None:
        """End a child, and the wait for it."""
        child = self.children[child_id]
        status = "FAILED" if fails else "COMPLETED"
        child.status = records.BackgroundExecutionStatus.Value(
            f"BACKGROUND_EXECUTION_STATUS_{status}"
        )
        if not fails:
            child.output.CopyFrom(to_value(output))
        for step in self.steps.values():
            if _waits(step) and _is_open(step) and step.child_execution_id == child_id:
                step.state, step.output = records.STEP_STATE_COMPLETED, "ended"

    def spawn(self, request: producing.SpawnRequest) -> producing.SpawnResponse:
        """Take a spawn with its step, or find the one of an earlier call."""
        known = self._spawned.get(request.enqueue.request_id)
        if known is None:
            known = f"exec_{len(self.children):027}"
            self._spawned[request.enqueue.request_id] = known
            self.children[known] = records.BackgroundExecution(
                execution_id=known,
                callable_name=request.enqueue.callable_name,
                input=request.enqueue.input,
                status=records.BACKGROUND_EXECUTION_STATUS_QUEUED,
            )
            assert request.step.parent_step_id in {"", *self.steps}
            self._apply(api.StepAction(started=request.step))
            step = self._running(request.step.step_id)
            step.state, step.child_execution_id = records.STEP_STATE_COMPLETED, known
        return producing.SpawnResponse(execution=self.children[known])

    def names(self, state: records.StepState.ValueType) -> list[str]:
        """The names of the steps in a state."""
        return [step.name for step in self.steps.values() if step.state == state]

    @property
    def completed(self) -> list[str]:
        return self.names(records.STEP_STATE_COMPLETED)

    # The server.

    def Work(self, messages: Iterator[api.WorkRequest], **_: Any) -> Call:  # noqa: ANN401, N802
        return Call(self._answers(messages))

    def _answers(self, messages: Iterator[api.WorkRequest]) -> Iterator[api.WorkResponse]:
        yield api.WorkResponse(welcome=api.WorkWelcome(held=next(messages).hello.held))
        for message in messages:
            kind = message.WhichOneof("message")
            if kind == "steps":
                self.messages.append(message)
                outcomes = [self._record(report) for report in message.steps.reports]
                yield api.WorkResponse(outcomes=api.WorkOutcomes(outcomes=outcomes))
            elif kind in {"complete", "fail", "release", "suspend"}:
                self.messages.append(message)
                outcomes = [self._end(result) for result in results_of(message)]
                yield api.WorkResponse(outcomes=api.WorkOutcomes(outcomes=outcomes))
            while self.outbox:
                yield self.outbox.popleft()

    def _record(self, report: api.StepReport) -> api.LeaseOutcome:
        if report.lease_token != f"t{self._leases}" or report.lease_token in self._lost:
            return api.LeaseOutcome(status=refusal(9, "LEASE_LOST"))
        if (status := self.refuse(report)) is not None:
            return api.LeaseOutcome(status=status)
        if report.sequence > self._sequence:
            self._sequence = report.sequence
            self.version = self.version or report.schema_version
            for action in report.actions:
                self._apply(action)
        return api.LeaseOutcome(result=api.LeaseResult())

    def _apply(self, action: api.StepAction) -> None:
        match action.WhichOneof("action"):
            case "started":
                new = action.started
                assert new.step_id not in self.steps
                assert len(new.step_id) == 32
                step = records.Step(
                    id=new.step_id,
                    name=new.name,
                    key=new.key,
                    step_type=new.step_type,
                    arguments_hash=new.arguments_hash,
                    state=records.STEP_STATE_RUNNING,
                )
                for field in ("input", "parent_step_id"):
                    if new.HasField(field):
                        setattr(step, field, getattr(new, field))
                if new.HasField("source"):
                    step.source.CopyFrom(new.source)
                self.steps[new.step_id] = step
            case "completed":
                step = self._running(action.completed.step_id)
                step.state = records.STEP_STATE_COMPLETED
                if action.completed.HasField("output"):
                    step.output = action.completed.output
            case "failed":
                step = self._running(action.failed.step_id)
                step.state = records.STEP_STATE_FAILED
                step.error.CopyFrom(action.failed.error)
            case other:
                raise AssertionError(other)

    def _running(self, step_id: str) -> records.Step:
        step = self.steps[step_id]
        assert step.state == records.STEP_STATE_RUNNING
        return step

    def _end(self, result: Any) -> api.LeaseOutcome:  # noqa: ANN401  # of any kind
        if (status := self.refuse_result(result)) is not None:
            return api.LeaseOutcome(status=status)
        if isinstance(result, api.Suspension):
            assert not [step for step in self.steps.values() if _is_open(step) and not _waits(step)]
            for point in result.waits:
                self._open_wait(point)
        else:
            self._end_attempt()
        self._results.append(copy.deepcopy(result))
        self._has_result.release()
        return api.LeaseOutcome(result=api.LeaseResult())

    def _open_wait(self, point: api.WaitPoint) -> None:
        if point.step_id in self.steps:
            assert _is_open(self.steps[point.step_id])
            return
        step = records.Step(
            id=point.step_id,
            name=point.name,
            key=point.step_key,
            step_type=records.STEP_TYPE_WAIT,
            state=records.STEP_STATE_RUNNING,
            wait_reason=point.reason,
        )
        if point.HasField("child_execution_id"):
            step.child_execution_id = point.child_execution_id
        if point.HasField("wait_until"):
            step.wait_until = point.wait_until.ToMilliseconds()
        elif point.HasField("wait_ms"):
            step.wait_until = 2_000_000_000_000 + point.wait_ms
        self.steps[point.step_id] = step

    def _end_attempt(self) -> None:
        for step in self.steps.values():
            if _is_open(step) and not _waits(step):
                step.state = records.STEP_STATE_FAILED
                step.error.code = "ATTEMPT_ENDED"


def _is_open(step: records.Step) -> bool:
    return step.state == records.STEP_STATE_RUNNING


def _waits(step: records.Step) -> bool:
    return step.step_type == records.STEP_TYPE_WAIT


def refusal(code: int, reason: str) -> status_pb2.Status:
    """The refusal of a report."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain="backlane")
    packed = any_pb2.Any()
    packed.Pack(info)
    return status_pb2.Status(code=code, message=f"refused: {reason}", details=[packed])
