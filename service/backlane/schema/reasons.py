"""Owns the reasons why an execution waits, each kind as a class with its values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from backlane.schema import json as schema_json
from backlane.schema.records import Actor, BackgroundExecution, ExecutionFault, Status
from backlane.v1 import execution_pb2 as records
from backlane.v1 import explanation_pb2 as messages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from backlane.v1 import execution_service_pb2 as service

NOTHING: Final = "nothing keeps it waiting: the next free worker gets it"
"""What the command says where there is no reason."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason; a kind that only a newer server knows is of this class itself.

    Attributes:
        kind: the kind, such as `not_due`; empty for one that is unknown.
        text: the reason in plain English, with its values; the words may change.
    """

    kind: ClassVar[str] = ""

    text: str


@dataclass(frozen=True, slots=True)
class Finished(Reason):
    """It is over.

    Attributes:
        status: how it ended.
        reason: why, such as `deadline`.
        actor: who caused the end.
        ended_at: when.
        error: the error, if it failed or timed out.
    """

    kind = "finished"

    status: Status
    reason: str
    actor: Actor
    ended_at: datetime
    error: ExecutionFault | None


@dataclass(frozen=True, slots=True)
class SetAside(Reason):
    """Its state contradicts itself, which is a defect of the server.

    Attributes:
        why: the contradiction.
    """

    kind = "set_aside"

    why: str


@dataclass(frozen=True, slots=True)
class UnmetDependencies(Reason):
    """Executions that it depends on have not completed.

    Attributes:
        count: how many; 0 for a moment after the last one has completed.
        unmet: the status of each by its id, of 100 at most.
    """

    kind = "unmet_dependencies"

    count: int
    unmet: Mapping[str, Status]


@dataclass(frozen=True, slots=True)
class NotDue(Reason):
    """It is scheduled for later.

    Attributes:
        until: when.
    """

    kind = "not_due"

    until: datetime


@dataclass(frozen=True, slots=True)
class BackingOff(Reason):
    """A retry waits for its delay.

    Attributes:
        until: when the delay is over.
        error: why the newest attempt went wrong, if that is still kept.
    """

    kind = "backing_off"

    until: datetime
    error: ExecutionFault | None


@dataclass(frozen=True, slots=True)
class Paused(Reason):
    """A client has paused it, and a client has to resume it.

    Attributes:
        by: who paused it; None if the server does not know.
        since: when; None if the server does not know.
    """

    kind = "paused"

    by: Actor | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class AwaitedEvent:
    """What ends a wait: whichever of these comes first.

    Attributes:
        input_key: the key of an input; None if no input does.
        until: a time; None if no time does.
        child_execution_id: the end of a child; None if no child does.
    """

    input_key: str | None
    until: datetime | None
    child_execution_id: str | None


@dataclass(frozen=True, slots=True)
class Suspended(Reason):
    """It waits without a worker.

    Attributes:
        waits: what it waits for; the first of these lets it go on.
    """

    kind = "suspended"

    waits: Sequence[AwaitedEvent]


@dataclass(frozen=True, slots=True)
class Running(Reason):
    """A worker has it.

    Attributes:
        worker_id: the worker.
        attempt: the number of the attempt.
        since: when its lease began.
        cancel_requested: whether the worker is asked to stop.
        pause_requested: whether the worker is asked to yield to a pause.
        waits_at_worker: whether the attempt begins only when the worker has a free slot.
    """

    kind = "running"

    worker_id: str
    attempt: int
    since: datetime
    cancel_requested: bool
    pause_requested: bool
    waits_at_worker: bool


@dataclass(frozen=True, slots=True)
class AwaitsDescendants(Reason):
    """Its end is decided, and it ends when its last descendant has ended.

    Attributes:
        status: how it will end.
        reason: why, such as `failed`.
        count: how many descendants are unfinished, exact up to 1 000.
        more: whether there are more than that.
        execution_ids: some of them, 100 at most.
    """

    kind = "awaits_descendants"

    status: Status
    reason: str
    count: int
    more: bool
    execution_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class LimitReached(Reason):
    """A limit on running executions is reached.

    Attributes:
        limit: how many may run at once.
        running: how many run.
        holder_ids: some of those that run, 10 at most, the oldest first.
    """

    limit: int
    running: int
    holder_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class TenantLimit(LimitReached):
    """The tenant is at its limit on running executions."""

    kind = "tenant_limit"


@dataclass(frozen=True, slots=True)
class CallableLimit(LimitReached):
    """The callable is at its limit on running executions."""

    kind = "callable_limit"


@dataclass(frozen=True, slots=True)
class NoWorker(Reason):
    """No live worker offers the callable for the tenant.

    Attributes:
        last_offered_at: when one last did; None if that is not known.
    """

    kind = "no_worker"

    last_offered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Withheld(Reason):
    """The workers with a free slot do not get it for now: they have released it, or many others.

    Attributes:
        worker_id: one such worker.
        until: when that is over; None if it depends on other executions.
    """

    kind = "withheld"

    worker_id: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class SlotsTaken(Reason):
    """No worker that offers the callable has a free slot.

    Attributes:
        workers: how many offer it.
        held: how many executions they hold.
    """

    kind = "slots_taken"

    workers: int
    held: int


@dataclass(frozen=True, slots=True)
class Ahead(Reason):
    """Other executions of the tenant come first.

    Attributes:
        count: how many, exact up to 1 000.
        more: whether there are more than that.
    """

    kind = "ahead"

    count: int
    more: bool


@dataclass(frozen=True, slots=True)
class Turn(Reason):
    """Other tenants are served first, because they have had less worker time.

    Attributes:
        tenants: how many, exact up to 1 000.
        more: whether there are more than that.
    """

    kind = "turn"

    tenants: int
    more: bool


@dataclass(frozen=True, slots=True)
class StartEstimate:
    """When an attempt probably starts, from now.

    Attributes:
        earliest: the shortest time.
        latest: the longest time; None where more than 1 000 executions are ahead.
    """

    earliest: timedelta
    latest: timedelta | None


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """Why an execution waits.

    Attributes:
        proto: the message itself, which must not be changed.
    """

    proto: service.ExplainResponse

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Return the status and the kinds of the reasons."""
        kinds = ", ".join(reason.kind or "unknown" for reason in self.reasons)
        return f"<Explanation {self.status}: {kinds or 'nothing'}>"

    def __str__(self) -> str:
        """Return the reasons, one a line."""
        return "\n".join(reason.text for reason in self.reasons) or NOTHING

    @property
    def status(self) -> Status:
        """The status of the execution."""
        return _status(self.proto.status)

    @property
    def reasons(self) -> Sequence[Reason]:
        """The reasons, the most decisive first; none if the next free worker gets it."""
        return [reason_of(proto) for proto in self.proto.reasons]

    @property
    def estimated_start(self) -> StartEstimate | None:
        """When an attempt probably starts; None if nothing is known about that."""
        if not self.proto.HasField("estimated_start"):
            return None
        start = self.proto.estimated_start
        latest = timedelta(milliseconds=start.latest_ms) if start.HasField("latest_ms") else None
        return StartEstimate(timedelta(milliseconds=start.earliest_ms), latest)

    def to_json(self) -> str:
        """Return the explanation as canonical JSON in one line."""
        return schema_json.dumps(self.proto)


def reason_of(proto: messages.Reason) -> Reason:
    """Return the view of a reason, of the class of its kind."""
    kind = proto.WhichOneof("kind")
    return Reason(proto.text) if kind is None else _VIEWS[kind](proto)


def _finished(proto: messages.Reason) -> Reason:
    done = proto.finished
    error = ExecutionFault(done.error) if done.HasField("error") else None
    actor, ended_at = _actor(done.actor), done.ended_at.ToDatetime(UTC)
    status, reason = _status(done.status), _end_reason(done.reason)
    return Finished(proto.text, status, reason, actor, ended_at, error)


def _unmet(proto: messages.Reason) -> Reason:
    related = proto.unmet_dependencies.unmet
    unmet = {one.execution_id: _status(one.status) for one in related}
    return UnmetDependencies(proto.text, proto.unmet_dependencies.count, unmet)


def _backing_off(proto: messages.Reason) -> Reason:
    one = proto.backing_off
    error = ExecutionFault(one.error) if one.HasField("error") else None
    return BackingOff(proto.text, one.until.ToDatetime(UTC), error)


def _paused(proto: messages.Reason) -> Reason:
    one = proto.paused
    by = _actor(one.by) if one.HasField("by") else None
    return Paused(proto.text, by, _instant(one.since, given=one.HasField("since")))


def _suspended(proto: messages.Reason) -> Reason:
    return Suspended(proto.text, [_wait(wait) for wait in proto.suspended.waits])


def _wait(wait: messages.Reason.Wait) -> AwaitedEvent:
    key = wait.input_key if wait.HasField("input_key") else None
    child = wait.child_execution_id if wait.HasField("child_execution_id") else None
    return AwaitedEvent(key, _instant(wait.until, given=wait.HasField("until")), child)


def _running(proto: messages.Reason) -> Reason:
    one = proto.running
    return Running(
        proto.text,
        worker_id=one.worker_id,
        attempt=one.attempt,
        since=one.since.ToDatetime(UTC),
        cancel_requested=one.cancel_requested,
        pause_requested=one.pause_requested,
        waits_at_worker=one.waits_at_worker,
    )


def _descendants(proto: messages.Reason) -> Reason:
    one = proto.awaits_descendants
    status, reason = _status(one.status), _end_reason(one.reason)
    return AwaitsDescendants(
        proto.text, status, reason, one.count, one.more, list(one.execution_ids)
    )


def _tenant_limit(proto: messages.Reason) -> Reason:
    one = proto.tenant_limit
    return TenantLimit(proto.text, one.limit, one.running, list(one.holder_ids))


def _callable_limit(proto: messages.Reason) -> Reason:
    one = proto.callable_limit
    return CallableLimit(proto.text, one.limit, one.running, list(one.holder_ids))


def _no_worker(proto: messages.Reason) -> Reason:
    one = proto.no_worker
    last = _instant(one.last_offered_at, given=one.HasField("last_offered_at"))
    return NoWorker(proto.text, last)


def _withheld(proto: messages.Reason) -> Reason:
    one = proto.withheld
    until = _instant(one.until, given=one.HasField("until"))
    return Withheld(proto.text, one.worker_id, until)


_VIEWS: Final[Mapping[str, Callable[[messages.Reason], Reason]]] = {
    "finished": _finished,
    "set_aside": lambda proto: SetAside(proto.text, proto.set_aside.why),
    "unmet_dependencies": _unmet,
    "not_due": lambda proto: NotDue(proto.text, proto.not_due.until.ToDatetime(UTC)),
    "backing_off": _backing_off,
    "paused": _paused,
    "suspended": _suspended,
    "running": _running,
    "awaits_descendants": _descendants,
    "tenant_limit": _tenant_limit,
    "callable_limit": _callable_limit,
    "no_worker": _no_worker,
    "withheld": _withheld,
    "slots_taken": lambda proto: SlotsTaken(
        proto.text, proto.slots_taken.workers, proto.slots_taken.held
    ),
    "ahead": lambda proto: Ahead(proto.text, proto.ahead.count, proto.ahead.more),
    "turn": lambda proto: Turn(proto.text, proto.turn.tenants, proto.turn.more),
}
"""How the view of each kind is made."""


def _status(number: records.BackgroundExecutionStatus.ValueType) -> Status:
    return BackgroundExecution(records.BackgroundExecution(status=number)).status


def _end_reason(number: records.EndReason.ValueType) -> str:
    return schema_json.enum_text(records.EndReason.DESCRIPTOR, number) or ""


def _actor(proto: records.Actor) -> Actor:
    return Actor(schema_json.enum_text(records.ActorKind.DESCRIPTOR, proto.kind) or "", proto.id)


def _instant(stamp: Timestamp, *, given: bool) -> datetime | None:
    return stamp.ToDatetime(UTC) if given else None
