"""Owns the calls that make executions: `enqueue`, `enqueue_many` and `run`, each once.

Single enqueues and slices of many go to the connection's pipe; a batch and `run` are calls of their
own.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from backlane import errors
from backlane.client.enqueue_request import request_ids
from backlane.client.many import make_batch, make_slice, put_together
from backlane.client.times import Slices, call_timeout_s
from backlane.schema.options import ABSENT
from backlane.schema.records import BackgroundExecution
from backlane.sdk.backoff import is_passing
from backlane.sdk.ending import completed
from backlane.sdk.request import ITEM_BYTES_MAX, check_size, fill, merged
from backlane.sdk.target import load, resolve
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from backlane.client.calls import Calls
    from backlane.client.graph import Graph
    from backlane.client.many import Slice
    from backlane.client.outbox import Outcome
    from backlane.client.pipe import HandedIn
    from backlane.sdk.target import Target

SLICES_IN_FLIGHT: Final = 16
"""Slices of `enqueue_many` that wait for their answers at once."""

H_co = TypeVar("H_co", covariant=True)
H = TypeVar("H")


class HandleKind(Protocol[H_co]):
    """Makes handles: `Handle` or `AsyncHandle`."""

    def __call__(
        self, calls: Calls, execution_id: str, target: Target | None, *, existing: bool
    ) -> H_co:
        """Make a handle."""


class Prepared(NamedTuple):
    """An enqueue as the caller described it.

    Attributes:
        message: holds its request.
        request: its request; of many enqueues the template, which has no input.
        target: the callable, where the caller gave more than its name.
        timeout_s: how long the call may take, in seconds.
    """

    message: api.EnqueueStreamRequest
    request: api.EnqueueRequest
    target: Target | None
    timeout_s: float


class Enqueues:
    """The calls that make executions."""

    def __init__(self, calls: Calls) -> None:
        """Make executions; handles follow them through the calls of the same client."""
        self._calls = calls
        self._ids = request_ids()

    async def enqueue(
        self, called: object, given: object, options: Mapping[str, object], kind: HandleKind[H]
    ) -> H:
        """Enqueue one execution and return a handle of that kind; see `Client.enqueue`."""
        connection = self._calls.connection.opened()
        ready = self._prepare(called, given, options)
        self._number(ready.request)
        encoded = ready.message.SerializeToString()
        if len(encoded) > ITEM_BYTES_MAX:
            check_size(ready.request)
        handed_in = await connection.pipe.hand_in(encoded, 1, ready.timeout_s)
        outcomes = await handed_in.outcomes()
        if outcomes is None:
            raise await connection.late(ready.timeout_s)
        [made] = self._handles(outcomes, ready.target, kind)
        if isinstance(made, Exception):
            raise made
        return made

    async def enqueue_many(
        self,
        called: object,
        inputs: Iterable[object],
        options: Mapping[str, object],
        kind: HandleKind[H],
        *,
        return_exceptions: bool,
    ) -> list[Any]:
        """Enqueue one execution for each input; see `Client.enqueue_many`."""
        self._calls.connection.opened()
        ready = self._prepare(called, ABSENT, options)
        if ready.target is not None and not ready.target.takes_input:
            name = ready.target.name
            raise TypeError(f"callable {name} takes no input, so it has none to be called with")
        made = await self._in_one_batch(ready, inputs, kind)
        if made is None:
            made = await self._in_slices(ready, inputs, kind)
        if not return_exceptions and any(isinstance(one, Exception) for one in made):
            raise errors.EnqueueManyError(made)
        return made

    async def _in_one_batch(
        self, ready: Prepared, inputs: Iterable[object], kind: HandleKind[H]
    ) -> list[H | Exception] | None:
        """Enqueue all inputs in one call, which costs the server half as much as on the stream.

        Returns:
            A handle or an error for each; None if nothing was enqueued, because the inputs do not
            suit a batch, or because the server refused it. The stream then tells what becomes of
            each of them.
        """
        calls, target = self._calls, ready.target
        batch = make_batch(ready.request, inputs)
        if batch is None:
            return None
        # It stands for all items.
        batch.request_id = next(self._ids)
        try:
            answer = await calls.call(calls.stub.EnqueueBatch, batch, ready.timeout_s)
        except errors.BacklaneError as error:
            if error.maybe_applied or is_passing(error):
                return self._handles([error] * len(batch.items), target, kind)
            return None
        return [
            kind(calls, made.execution.execution_id, target, existing=made.existing)
            for made in answer.results
        ]

    async def _in_slices(
        self, ready: Prepared, inputs: Iterable[object], kind: HandleKind[H]
    ) -> list[H | Exception]:
        """Enqueue inputs over the stream, several slices at a time."""
        connection = self._calls.connection
        waiting: deque[tuple[Slice, HandedIn]] = deque()
        made: list[H | Exception] = []

        async def note_oldest() -> bool:
            """Note what became of the oldest slice, and return whether more may be sent."""
            part, handed_in = waiting.popleft()
            outcomes = await handed_in.outcomes()
            if outcomes is None:
                late = await connection.late(ready.timeout_s)
                outcomes = [late] * part.sent
            made.extend(self._handles(put_together(part, outcomes), ready.target, kind))
            return not is_cut_off(outcomes)

        try:
            for part in self._slices(ready.request, inputs):
                handed_in = await connection.pipe.hand_in(part.encoded, part.sent, ready.timeout_s)
                waiting.append((part, handed_in))
                if handed_in.is_late:
                    break
                if len(waiting) >= SLICES_IN_FLIGHT and not await note_oldest():
                    break
                await connection.pause(0)
            while waiting:
                await note_oldest()
        finally:
            for _, handed_in in waiting:
                handed_in.abandon()
        return made

    async def enqueue_graph(
        self,
        graph: Graph,
        kind: HandleKind[H],
        *,
        request_id: str | None,
        call_timeout: float | timedelta | None,
    ) -> tuple[list[H], bool]:
        """Enqueue all executions of a graph or none; see `Client.enqueue_graph`.

        Returns:
            A handle for each node, and whether they were enqueued before.
        """
        calls = self._calls
        calls.connection.opened()
        if not graph.nodes:
            return [], False
        batch = graph.request(calls.tenant, request_id or next(self._ids))
        timeout_s = calls.call_timeout_s if call_timeout is None else call_timeout_s(call_timeout)
        answer = await calls.call(calls.stub.EnqueueBatch, batch, timeout_s)
        handles = [
            kind(calls, made.execution.execution_id, node.target, existing=made.existing)
            for made, node in zip(answer.results, graph.nodes, strict=True)
        ]
        return handles, answer.existing

    async def run(
        self,
        called: object,
        given: object,
        options: Mapping[str, object],
        wait_timeout: float | timedelta | None,
    ) -> Any:  # noqa: ANN401  # the callable's own type
        """Enqueue, wait for the end, and return the output; see `Client.run`."""
        self._calls.connection.opened()
        ready = self._prepare(called, given, options)
        self._number(ready.request)
        check_size(ready.request)
        slices = Slices(wait_timeout)
        request = api.RunRequest(enqueue=ready.request)
        answer = await self._calls.call(self._calls.stub.Run, request, ready.timeout_s, slices)
        execution = BackgroundExecution(answer.execution)
        if not execution.is_finished:
            # Not `Run` once more: a wait may be longer than a server remembers a request id.
            execution = await self._calls.finished(execution.execution_id, slices)
        return load(ready.target, completed(execution).output)

    def _prepare(self, called: object, given: object, options: Mapping[str, object]) -> Prepared:
        name, target = resolve(called, given)
        chosen = merged(target.defaults if target is not None else {}, options)
        message = api.EnqueueStreamRequest()
        request = message.items.add()
        fill(request, self._calls.tenant, name, given, chosen)
        timeout = chosen.get("call_timeout")
        timeout_s = self._calls.call_timeout_s if timeout is None else call_timeout_s(timeout)
        return Prepared(message, request, target, timeout_s)

    def _number(self, request: api.EnqueueRequest) -> None:
        """Give a request an id, where it has none."""
        if not request.request_id:
            request.request_id = next(self._ids)

    def _slices(self, template: api.EnqueueRequest, inputs: Iterable[object]) -> Iterator[Slice]:
        """Divide many enqueues into slices of one message each, made as they are drawn."""
        prefix = template.request_id
        numbered = zip(inputs, request_ids(prefix) if prefix else self._ids, strict=False)
        while (part := make_slice(template, numbered)).count:
            yield part

    def _handles(
        self, outcomes: Iterable[Outcome | Exception], target: Target | None, kind: HandleKind[H]
    ) -> list[H | Exception]:
        """Return a handle for each request that was made, and the error of each other one."""
        calls = self._calls
        return [
            kind(calls, outcome.execution_id, target, existing=outcome.existing)
            if isinstance(outcome, api.EnqueueResult)
            else calls.explained(outcome)
            if isinstance(outcome, errors.BacklaneError)
            else outcome
            for outcome in outcomes
        ]


def is_cut_off(outcomes: Sequence[Outcome]) -> bool:
    """Tell whether the last outcome says that the server cannot be reached any more."""
    away = errors.UnavailableError | errors.CallCancelledError | errors.CallTimeoutError
    return bool(outcomes) and isinstance(outcomes[-1], away)
