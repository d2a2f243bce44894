"""Owns the reasons why an execution waits, each kind as a class with its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from backlane.schema.records import Actor, ExecutionFault, Status


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
