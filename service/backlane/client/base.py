"""Owns what the two clients share: settings, requests, and what answers mean. It calls nothing."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from backlane import errors
from backlane.channel import TLS, Endpoint, tenant_or_default
from backlane.client.outbox import MESSAGE_BYTES, MESSAGE_ITEMS_MAX
from backlane.client.patience import explained
from backlane.client.requests import (
    RequestIds,
    check_size,
    enqueue_request,
    merged,
    set_input,
)
from backlane.client.target import resolve
from backlane.client.times import call_timeout_s
from backlane.schema.options import ABSENT
from backlane.schema.records import BackgroundExecution, Status
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from backlane.client.outbox import Outcome
    from backlane.client.target import Target
    from backlane.schema.options import EnqueueOptions

CALL_TIMEOUT_S: Final = 30.0
PAGE_SIZE: Final = 1000
WAIT_IDS_MAX: Final = 1000
SLICES_IN_FLIGHT: Final = 16
"""Messages of `enqueue_many` that wait for their answers at once."""

Until: TypeAlias = Literal["all", "any"] | int
"""When a wait is over: all ended, any, or so many."""


class Named(Protocol):
    """A handle, of which only the id counts here."""

    @property
    def execution_id(self) -> str:
        """Which execution it is."""


@dataclass(frozen=True, slots=True)
class WaitResult:
    """What a wait came to.

    Attributes:
        outcomes: one for each that was named, in order: the record, finished or not and without
            input and output, or the error of an id that cannot be waited for.
        satisfied: whether what was waited for has happened; False where the time was over before.
    """

    outcomes: Sequence[BackgroundExecution | errors.BacklaneError]
    satisfied: bool

    @property
    def finished(self) -> list[BackgroundExecution]:
        """The records of those that have ended."""
        return [
            one for one in self.outcomes if isinstance(one, BackgroundExecution) and one.is_finished
        ]

    @property
    def errors(self) -> list[errors.BacklaneError]:
        """The errors of ids that cannot be waited for; they count as ended."""
        return [one for one in self.outcomes if not isinstance(one, BackgroundExecution)]


@dataclass(frozen=True, slots=True)
class Prepared:
    """An enqueue that is ready to be sent."""

    request: api.EnqueueRequest
    size: int
    target: Target | None
    timeout_s: float


@dataclass(slots=True)
class Slice:
    """A part of many enqueues: requests to send, and the errors of inputs that cannot be."""

    requests: list[api.EnqueueRequest]
    size: int
    errors: dict[int, Exception]
    count: int


class ClientBase:
    """Settings of a client, and its requests."""

    def __init__(  # one for each setting
        self,
        target: str | None = None,
        *,
        tenant: str | None = None,
        call_timeout: float | timedelta = CALL_TIMEOUT_S,
        tls: TLS | bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        wait_for_server: bool = True,
    ) -> None:
        """Describe a client; nothing is opened before the first call.

        Args:
            target: the server, `HOST:PORT`; `$BACKLANE_TARGET`, else 127.0.0.1:7433.
            tenant: whose executions they are; `$BACKLANE_TENANT`, else `default`.
            call_timeout: how long a call may take, waits for a server that is away included, in
                seconds. Waits for results have timeouts of their own, and look two seconds longer
                for a server that is away.
            tls: how to speak TLS; True as the system has it, False not at all.
            metadata: headers that go with every call, such as `authorization`.
            wait_for_server: whether calls are made again while the server is away; they are safe
                to repeat. False fails at once.

        Raises:
            ValueError: one of them cannot be used; the message names it.
        """
        self._call_timeout_s = call_timeout_s(call_timeout)
        self.endpoint: Final = Endpoint.of(target, tls, metadata)
        self.tenant: Final = tenant_or_default(tenant)
        self._waits = wait_for_server
        self._ids = RequestIds()
        self._process = os.getpid()
        self._open()

    def _open(self) -> None:
        """Open what the kind of client needs."""

    def _now(self) -> datetime:
        """Return what delays count from, in UTC."""
        return datetime.now(UTC)

    def __repr__(self) -> str:
        """Name the server and the tenant."""
        return f"<{type(self).__name__} {self.endpoint.target} tenant {self.tenant}>"

    def _handled(
        self,
        outcomes: Iterable[Outcome | Exception],
        target: Target | None,
        kind: Any,  # noqa: ANN401
    ) -> Iterator[Any]:
        """Yield a handle of that kind for each request that was made, and errors as they are."""
        for outcome in outcomes:
            if isinstance(outcome, errors.BacklaneError):
                yield self._explained(outcome)
            elif isinstance(outcome, Exception):
                yield outcome
            else:
                yield kind(self, outcome.execution_id, target, existing=outcome.existing)

    @property
    def _is_forked(self) -> bool:
        return os.getpid() != self._process

    def _check_process(self) -> None:
        if self._is_forked:
            raise errors.ForkedError(type(self).__name__, self._process, os.getpid())

    def _timeout_of(self, options: EnqueueOptions) -> float:
        given = options.get("call_timeout")
        return self._call_timeout_s if given is None else call_timeout_s(given)

    def _prepare(self, called: object, given: object, options: Mapping[str, object]) -> Prepared:
        """Make one enqueue ready."""
        self._check_process()
        name, target = resolve(called, given)
        chosen = merged(target.defaults if target is not None else {}, options)
        request = enqueue_request(self.tenant, name, given, chosen, self._now())
        if not request.request_id:
            request.request_id = self._ids()
        return Prepared(request, check_size(request), target, self._timeout_of(chosen))

    def _slices(
        self, called: object, inputs: Iterable[object], options: Mapping[str, object]
    ) -> tuple[Target | None, float, Iterator[Slice]]:
        """Divide many enqueues into slices of one message each, made as they are drawn."""
        self._check_process()
        name, target = resolve(called, ABSENT)
        if target is not None and not target.takes_input:
            raise TypeError(f"callable {name} takes no input, so it has none to be called with")
        chosen = merged(target.defaults if target is not None else {}, options)
        template = enqueue_request(self.tenant, name, ABSENT, chosen, self._now())
        prefix = template.request_id
        ids = map(f"{prefix}-{{}}".format, itertools.count(1)) if prefix else iter(self._ids, None)
        return target, self._timeout_of(chosen), _sliced(template, iter(inputs), ids)

    def _get_request(self, execution_id: str) -> api.GetRequest:
        return api.GetRequest(tenant_id=self.tenant, execution_id=execution_id)

    def _list_request(
        self, status: Status | str | None, limit: int | None, *, full: bool
    ) -> api.ListRequest:
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative: {limit}")
        everything = records.BACKGROUND_EXECUTION_STATUS_UNSPECIFIED
        if status is not None and Status(status) is Status.UNSPECIFIED:
            raise ValueError("status cannot be unspecified: leave it out to list everything")
        return api.ListRequest(
            tenant_id=self.tenant,
            status=everything if status is None else Status(status).number,
            page_size=min(PAGE_SIZE, limit) if limit else PAGE_SIZE,
            view=records.VIEW_FULL if full else records.VIEW_BASIC,
        )

    def _wait_request(self, ids: Sequence[str], until: Until) -> api.WaitRequest:
        request = api.WaitRequest(tenant_id=self.tenant, execution_ids=ids)
        if until == "any":
            request.wait_for = api.WAIT_FOR_ANY
        elif until == "all":
            request.wait_for = api.WAIT_FOR_ALL
        else:
            request.wait_for = api.WAIT_FOR_COUNT
            request.count = until
        return request

    def _cancel_request(self, execution_id: str) -> api.CancelRequest:
        return api.CancelRequest(tenant_id=self.tenant, execution_id=execution_id)

    def _peek_request(self, limit: int, callables: Sequence[str]) -> api.PeekRequest:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        return api.PeekRequest(tenant_id=self.tenant, limit=limit, callables=callables)

    def _explained(self, error: errors.BacklaneError) -> errors.BacklaneError:
        """Return an error as a person needs it, in an instance that nobody else raises."""
        shown = explained(error, self.endpoint.target)
        return type(shown)(shown.parts)


def ids_of(executions: Iterable[Named | str], until: Until) -> list[str]:
    """Return the ids to wait for, as they were named.

    Raises:
        TypeError: it is one id, and no list of some.
        ValueError: there are none, too many for this kind of wait, or fewer than are asked for.
    """
    if isinstance(executions, str):
        raise TypeError(f"executions must be a list of handles or ids: [{executions!r}]")
    if until not in {"all", "any"} and not isinstance(until, int):
        raise ValueError(f"until must be 'all', 'any' or a number, not {until!r}")
    named = [one if isinstance(one, str) else one.execution_id for one in executions]
    count = len(set(named))
    if not named:
        raise ValueError("there is nothing to wait for: executions is empty")
    if until != "all" and count > WAIT_IDS_MAX:
        raise ValueError(f"until={until!r} takes at most {WAIT_IDS_MAX} executions, not {count}")
    if isinstance(until, int) and not 1 <= until <= count:
        raise ValueError(f"until={until} must be from 1 to {count}, the number of executions")
    return named


def put_in_order(named: Sequence[str], parts: Sequence[WaitResult]) -> WaitResult:
    """Return one result of waits that were asked for each id once, in `named`'s order."""
    outcomes = [outcome for part in parts for outcome in part.outcomes]
    by_id = dict(zip(dict.fromkeys(named), outcomes, strict=True))
    return WaitResult([by_id[one] for one in named], all(part.satisfied for part in parts))


def outcome_of(
    outcome: api.WaitOutcome,
) -> BackgroundExecution | errors.BacklaneError:
    """Return what became of one id of a wait."""
    if outcome.HasField("status"):
        return errors.from_status(outcome.status)
    return BackgroundExecution(outcome.execution)


def is_bare(outcome: BackgroundExecution | errors.BacklaneError) -> bool:
    """Tell whether a record did not fit into the answer, which shows its id alone."""
    return isinstance(outcome, BackgroundExecution) and not outcome.proto.status


def completed(execution: BackgroundExecution) -> BackgroundExecution:
    """Return a finished execution that has a result.

    Raises:
        ExecutionEndedError: it ended otherwise.
    """
    match execution.status:
        case Status.COMPLETED:
            return execution
        case Status.FAILED:
            raise errors.ExecutionFailedError(execution)
        case Status.CANCELLED:
            raise errors.ExecutionCancelledError(execution)
        case Status.TIMEOUT:
            raise errors.ExecutionTimedOutError(execution)
        case _:
            raise errors.ExecutionEndedError(execution)


def put_together(part: Slice, outcomes: Sequence[Outcome]) -> Iterator[Outcome | Exception]:
    """Yield the outcomes of a slice in the order of its inputs."""
    answered = iter(outcomes)
    for index in range(part.count):
        yield part.errors[index] if index in part.errors else next(answered)


def is_cut_off(outcomes: Sequence[Outcome]) -> bool:
    """Tell whether the last of them says that the server cannot be reached any more."""
    away = errors.UnavailableError | errors.CallCancelledError | errors.CallTimeoutError
    return bool(outcomes) and isinstance(outcomes[-1], away)


def checked(outcomes: list[Any], *, return_exceptions: bool) -> list[Any]:
    """Return outcomes in which nothing is an error, or errors are asked for.

    Raises:
        EnqueueManyError: something was refused.
    """
    if not return_exceptions and any(isinstance(one, Exception) for one in outcomes):
        raise errors.EnqueueManyError(outcomes)
    return outcomes


def _sliced(
    template: api.EnqueueRequest, inputs: Iterator[object], ids: Iterator[str]
) -> Iterator[Slice]:
    while (part := _slice(template, inputs, ids)).count:
        yield part


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
