"""Owns the calls that make executions: `enqueue`, `enqueue_many` and `run`, each once.

Single enqueues and slices of many go to the connection's pipe; `run` is a call of its own.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from backlane import errors
from backlane.client.enqueue_request import (
    RequestIds,
    check_size,
    enqueue_request,
    merged,
    set_input,
)
from backlane.client.handle import completed
from backlane.client.outbox import MESSAGE_BYTES, MESSAGE_ITEMS_MAX
from backlane.client.target import load, resolve
from backlane.client.times import Slices, call_timeout_s
from backlane.schema.options import ABSENT
from backlane.schema.records import BackgroundExecution
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from backlane.client.calls import Calls
    from backlane.client.outbox import Outcome
    from backlane.client.pipe import HandedIn
    from backlane.client.target import Target

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


@dataclass(frozen=True, slots=True)
class Prepared:
    """An enqueue as the caller described it.

    Attributes:
        request: its request; of many enqueues the template, which has no input.
        target: the callable, where the caller gave more than its name.
        timeout_s: how long the call may take, in seconds.
    """

    request: api.EnqueueRequest
    target: Target | None
    timeout_s: float


@dataclass(slots=True)
class Slice:
    """A part of many enqueues, for one message.

    Attributes:
        requests: those that can be sent.
        size: their encoded size in bytes.
        errors: of inputs that cannot be sent, by their place in the slice.
        count: how many inputs the slice has, sent or not.
    """

    requests: list[api.EnqueueRequest]
    size: int
    errors: dict[int, Exception]
    count: int


class Enqueues:
    """The calls that make executions."""

    def __init__(self, calls: Calls) -> None:
        """Make executions; handles follow them through the calls of the same client."""
        self._calls = calls
        self._ids = RequestIds()

    async def enqueue(
        self, called: object, given: object, options: Mapping[str, object], kind: HandleKind[H]
    ) -> H:
        """Enqueue one execution and return a handle of that kind; see `Client.enqueue`."""
        connection = self._calls.connection.opened()
        ready = self._prepare(called, given, options)
        size = self._complete(ready.request)
        handed_in = await connection.pipe.hand_in([ready.request], size, ready.timeout_s)
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
        connection = self._calls.connection.opened()
        ready = self._prepare(called, ABSENT, options)
        if ready.target is not None and not ready.target.takes_input:
            name = ready.target.name
            raise TypeError(f"callable {name} takes no input, so it has none to be called with")
        waiting: deque[tuple[Slice, HandedIn]] = deque()
        made: list[H | Exception] = []

        async def note_oldest() -> bool:
            """Note what became of the oldest slice, and return whether more may be sent."""
            part, handed_in = waiting.popleft()
            outcomes = await handed_in.outcomes()
            if outcomes is None:
                late = await connection.late(ready.timeout_s)
                outcomes = [late] * len(part.requests)
            made.extend(self._handles(put_together(part, outcomes), ready.target, kind))
            return not is_cut_off(outcomes)

        try:
            for part in self._slices(ready.request, inputs):
                handed_in = await connection.pipe.hand_in(part.requests, part.size, ready.timeout_s)
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
        if not return_exceptions and any(isinstance(one, Exception) for one in made):
            raise errors.EnqueueManyError(made)
        return made

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
        self._complete(ready.request)
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
        request = enqueue_request(self._calls.tenant, name, given, chosen)
        timeout = chosen.get("call_timeout")
        timeout_s = self._calls.call_timeout_s if timeout is None else call_timeout_s(timeout)
        return Prepared(request, target, timeout_s)

    def _complete(self, request: api.EnqueueRequest) -> int:
        """Give a request an id, where it has none, and return its encoded size in bytes."""
        if not request.request_id:
            request.request_id = self._ids()
        return check_size(request)

    def _slices(self, template: api.EnqueueRequest, inputs: Iterable[object]) -> Iterator[Slice]:
        """Divide many enqueues into slices of one message each, made as they are drawn."""
        prefix = template.request_id
        ids = map(f"{prefix}-{{}}".format, itertools.count(1)) if prefix else iter(self._ids, None)
        remaining = iter(inputs)
        while (part := _slice(template, remaining, ids)).count:
            yield part

    def _handles(
        self,
        outcomes: Iterable[Outcome | Exception],
        target: Target | None,
        kind: HandleKind[H],
    ) -> Iterator[H | Exception]:
        """Yield a handle for each request that was made, and the error of each other one."""
        for outcome in outcomes:
            if isinstance(outcome, errors.BacklaneError):
                yield self._calls.explained(outcome)
            elif isinstance(outcome, Exception):
                yield outcome
            else:
                yield kind(self._calls, outcome.execution_id, target, existing=outcome.existing)


def put_together(part: Slice, outcomes: Sequence[Outcome]) -> Iterator[Outcome | Exception]:
    """Yield the outcomes of a slice in the order of its inputs."""
    answered = iter(outcomes)
    for index in range(part.count):
        yield part.errors[index] if index in part.errors else next(answered)


def is_cut_off(outcomes: Sequence[Outcome]) -> bool:
    """Tell whether the last outcome says that the server cannot be reached any more."""
    away = errors.UnavailableError | errors.CallCancelledError | errors.CallTimeoutError
    return bool(outcomes) and isinstance(outcomes[-1], away)


def _slice(template: api.EnqueueRequest, inputs: Iterator[object], ids: Iterator[str]) -> Slice:
    part = Slice([], 0, {}, 0)
    for given in inputs:
        request = api.EnqueueRequest()
        request.CopyFrom(template)
        request.request_id = next(ids)
        try:
            set_input(request, given)
            part.size += check_size(request)
            part.requests.append(request)
        except (errors.InvalidInputError, errors.TooLargeError) as error:
            part.errors[part.count] = error
        part.count += 1
        if part.count >= MESSAGE_ITEMS_MAX or part.size >= MESSAGE_BYTES:
            break
    return part
