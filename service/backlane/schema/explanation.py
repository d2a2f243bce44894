"""Owns explanations: why an execution waits, and when it probably starts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from backlane.schema import json as schema_json
from backlane.schema import reasons as kinds
from backlane.schema.records import Actor, BackgroundExecution, ExecutionFault, Status
from backlane.v1 import execution_pb2 as records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from backlane.schema.reasons import Reason
    from backlane.v1 import execution_service_pb2 as service
    from backlane.v1 import explanation_pb2 as messages

NOTHING: Final = "nothing keeps it waiting: the next free worker gets it"
"""What the command says where there is no reason."""


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
    return kinds.Reason(proto.text) if kind is None else _VIEWS[kind](proto)


def _finished(proto: messages.Reason) -> Reason:
    done = proto.finished
    error = ExecutionFault(done.error) if done.HasField("error") else None
    actor, ended_at = _actor(done.actor), done.ended_at.ToDatetime(UTC)
    status, reason = _status(done.status), _end_reason(done.reason)
    return kinds.Finished(proto.text, status, reason, actor, ended_at, error)


def _unmet(proto: messages.Reason) -> Reason:
    related = proto.unmet_dependencies.unmet
    unmet = {one.execution_id: _status(one.status) for one in related}
    return kinds.UnmetDependencies(proto.text, proto.unmet_dependencies.count, unmet)


def _backing_off(proto: messages.Reason) -> Reason:
    one = proto.backing_off
    error = ExecutionFault(one.error) if one.HasField("error") else None
    return kinds.BackingOff(proto.text, one.until.ToDatetime(UTC), error)


def _paused(proto: messages.Reason) -> Reason:
    one = proto.paused
    by = _actor(one.by) if one.HasField("by") else None
    return kinds.Paused(proto.text, by, _instant(one.since, given=one.HasField("since")))


def _suspended(proto: messages.Reason) -> Reason:
    return kinds.Suspended(proto.text, [_wait(wait) for wait in proto.suspended.waits])


def _wait(wait: messages.Reason.Wait) -> kinds.AwaitedEvent:
    key = wait.input_key if wait.HasField("input_key") else None
    child = wait.child_execution_id if wait.HasField("child_execution_id") else None
    return kinds.AwaitedEvent(key, _instant(wait.until, given=wait.HasField("until")), child)


def _running(proto: messages.Reason) -> Reason:
    one = proto.running
    return kinds.Running(
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
    return kinds.AwaitsDescendants(
        proto.text, status, reason, one.count, one.more, list(one.execution_ids)
    )


def _tenant_limit(proto: messages.Reason) -> Reason:
    one = proto.tenant_limit
    return kinds.TenantLimit(proto.text, one.limit, one.running, list(one.holder_ids))


def _callable_limit(proto: messages.Reason) -> Reason:
    one = proto.callable_limit
    return kinds.CallableLimit(proto.text, one.limit, one.running, list(one.holder_ids))


def _no_worker(proto: messages.Reason) -> Reason:
    one = proto.no_worker
    last = _instant(one.last_offered_at, given=one.HasField("last_offered_at"))
    return kinds.NoWorker(proto.text, last)


def _withheld(proto: messages.Reason) -> Reason:
    one = proto.withheld
    until = _instant(one.until, given=one.HasField("until"))
    return kinds.Withheld(proto.text, one.worker_id, until)


_VIEWS: Final[Mapping[str, Callable[[messages.Reason], Reason]]] = {
    "finished": _finished,
    "set_aside": lambda proto: kinds.SetAside(proto.text, proto.set_aside.why),
    "unmet_dependencies": _unmet,
    "not_due": lambda proto: kinds.NotDue(proto.text, proto.not_due.until.ToDatetime(UTC)),
    "backing_off": _backing_off,
    "paused": _paused,
    "suspended": _suspended,
    "running": _running,
    "awaits_descendants": _descendants,
    "tenant_limit": _tenant_limit,
    "callable_limit": _callable_limit,
    "no_worker": _no_worker,
    "withheld": _withheld,
    "slots_taken": lambda proto: kinds.SlotsTaken(
        proto.text, proto.slots_taken.workers, proto.slots_taken.held
    ),
    "ahead": lambda proto: kinds.Ahead(proto.text, proto.ahead.count, proto.ahead.more),
    "turn": lambda proto: kinds.Turn(proto.text, proto.turn.tenants, proto.turn.more),
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
