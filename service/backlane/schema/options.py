"""Owns the options of an enqueue: everything besides the callable and its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypedDict, final, get_args

from backlane.schema.ranges import check, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from backlane.schema.named import Named

Category = Literal[
    "llm_error",
    "tool_error",
    "network_error",
    "timeout",
    "policy_violation",
    "quota_exceeded",
    "kernel_internal",
    "validation_error",
]
"""The kind of an error."""

CancellationPolicy = Literal["cascade_cancel", "wait_for_children", "detach"]
"""What happens to the unfinished children of an execution that ends otherwise than completed."""

Strategy = Literal["fixed", "linear", "exponential"]
"""How the delay of a rule for retries grows."""

FATAL_CATEGORIES: Final[frozenset[Category]] = frozenset(
    ("policy_violation", "quota_exceeded", "kernel_internal", "validation_error")
)
"""The categories that are never retried."""


@final
class Absent:
    """The type of `ABSENT`. It is not None, because an input of None is null in JSON."""

    def __repr__(self) -> str:
        """Return its name."""
        return "ABSENT"

    def __bool__(self) -> Literal[False]:
        """Return False."""
        return False


ABSENT: Final = Absent()
"""The value of an input that is not given."""


@final
class RawInput(str):
    """An input that is sent as it is, and not encoded as a JSON string.

    Example:
        with Client() as client:
            assert client.enqueue("work", "Ada").get().input == '"Ada"'
            assert client.enqueue("work", RawInput("Ada")).get().input == "Ada"
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The rule for retrying attempts that failed or timed out.

    Attributes:
        max_attempts: how many attempts may fail or time out, including the first; at least 1.
        strategy: how the delay grows: `fixed`, `linear` or `exponential`.
        initial_delay: the delay after the first failed attempt, in seconds; at most `max_delay`.
        backoff_multiplier: the factor by which `exponential` multiplies the delay each time.
        max_delay: the longest delay, in seconds.
        jitter: whether delays vary by up to ±25 %.
        retry_on: the categories to retry; empty means all that are not fatal. A fatal category is
            refused, because it is never retried.

    Raises:
        ValueError: a value is out of its range; the message names the option and the range.
        TypeError: a value has a wrong type.

    Example:
        with Client() as client:
            client.enqueue("work", retry=Retry(max_attempts=5, retry_on=["network_error"]))
    """

    max_attempts: int = 3
    strategy: Strategy = "exponential"
    initial_delay: float | timedelta = 1.0
    backoff_multiplier: float = 2.0
    max_delay: float | timedelta = 60.0
    jitter: bool = True
    retry_on: Sequence[Category] = ()

    def __post_init__(self) -> None:
        """Refuse values that the server would refuse, or that would have no effect."""
        for name in ("max_attempts", "initial_delay", "backoff_multiplier", "max_delay"):
            check(name, getattr(self, name))
        first_s, longest_s = seconds(self.initial_delay), seconds(self.max_delay)
        if first_s > longest_s:
            raise ValueError(
                f"initial_delay must be at most max_delay, which is {longest_s:g} seconds, not "
                f"{first_s:g} seconds: raise max_delay or lower initial_delay"
            )
        if self.strategy not in get_args(Strategy):
            known = ", ".join(get_args(Strategy))
            raise ValueError(f"strategy must be one of {known}, not {self.strategy!r}")
        if not isinstance(self.jitter, bool):
            raise TypeError(f"jitter must be True or False, not {self.jitter!r}")
        _check_categories(self.retry_on)


def _check_categories(retry_on: Sequence[Category]) -> None:
    if isinstance(retry_on, str):
        raise TypeError(f"retry_on must be a list of categories, not {retry_on!r}")
    known = [category for category in get_args(Category) if category not in FATAL_CATEGORIES]
    for category in retry_on:
        if category not in known:
            why = "is never retried" if category in FATAL_CATEGORIES else "is no category"
            raise ValueError(
                f"retry_on must be of {', '.join(known)}, not {category!r}, which {why}"
            )


class RedriveOptions(TypedDict, total=False):
    """The options of a redrive. Without the first four, the new execution has the old config.

    Attributes:
        mode: as in `EnqueueOptions`; with any of these four, the others have their defaults.
        priority: as in `EnqueueOptions`.
        timeout: as in `EnqueueOptions`.
        retry: as in `EnqueueOptions`.
        restart: take all steps anew. Without it, and without another input, the new execution has
            the steps that the old one completed.
        with_dependents: enqueue once more as well, in the same commit, the executions that were
            skipped because of this one. The handle has their
            ids, as `dependent_ids`.
        request_id: redrives with the same id within 24 hours make one execution; generated by
            default. A repeated one has to be about the same execution and input, with the same
            `restart` and `with_dependents`.
        call_timeout: how long the call may take, in seconds; the client's setting by default.
    """

    mode: Literal["fire_and_forget", "silent", "deferred"] | None
    priority: int | None
    timeout: float | timedelta | None
    retry: Retry | None
    restart: bool | None
    with_dependents: bool | None
    request_id: str | None
    call_timeout: float | timedelta | None


class RedriveManyOptions(RedriveOptions, total=False):
    """The options of a redrive of many dead letters: which of them, and how each is redriven.

    Attributes:
        callable_name: those of this callable; every one by default.
        status: those with this status; both by default.
        since: those that ended at this instant or later.
        until: those that ended before this instant.
        limit: how many at most, the newest first; all by default.
        rate: how many a second at most; one after the other by default.
        name: the name of the run, 1 to 95 printable ASCII characters; a new one by default. It
            takes the place of `request_id`, which is refused.
        dry_run: redrive nothing, and say which would be.
    """

    callable_name: str | None
    status: Literal["failed", "timeout"] | None
    since: datetime | None
    until: datetime | None
    limit: int | None
    rate: float | None
    name: str | None
    dry_run: bool


class EnqueueOptions(TypedDict, total=False):
    """The options of an enqueue. An option that is left out or None has the default.

    Attributes:
        mode: whether a caller waits for the result, and whether progress is streamed;
            `fire_and_forget` by default.
        priority: from 0 to 255; a higher priority runs sooner. The default is 50.
        timeout: the longest that one attempt may run, in seconds; the default is 300.
        retry: the rule for retries; by default there are none.
        delay: how long the execution must wait before it can be leased, in seconds, counted by
            the server from the enqueue. A repeated request does not begin it anew.
        not_before: the instant before which the execution is not leased; excludes `delay`.
        start_deadline: the execution ends with status `timeout` unless it was leased by then.
        deadline: the execution ends with status `timeout` unless it has finished by then.
        context: texts for the worker.
        metadata: JSON values for the worker.
        max_worker_losses: how many times its lease may be lost before the execution fails; the
            default is 3, and 1 means that it runs at most once.
        request_id: enqueues with the same id within 24 hours make one execution; generated by
            default. A repeated one has to be about the same: callable, input, context and
            `dedup_key`. The order of keys in the input does not matter; a set has no order of its
            own, so send a sorted list.
        dedup_key: the tenant has at most one unfinished execution with this key.
        dedup_policy: what to do if there is one already.
        after: the executions that must complete first, each a handle or an id; at most 256. If one
            of them ends otherwise, this one is cancelled with the reason `dependency_failed`.
        cancellation_policy: what happens to its unfinished children when it fails, is cancelled or
            times out: `cascade_cancel` cancels them (the default), `wait_for_children` has it end
            after them, and `detach` lets them go on.
        traceparent: a W3C trace context, kept on the record.
        call_timeout: how long the call may take, in seconds; the client's setting by default.
    """

    mode: Literal["fire_and_forget", "silent", "deferred"] | None
    priority: int | None
    timeout: float | timedelta | None
    retry: Retry | None
    delay: float | timedelta | None
    not_before: datetime | None
    start_deadline: datetime | None
    deadline: datetime | None
    context: Mapping[str, str] | None
    metadata: Mapping[str, object] | None
    max_worker_losses: int | None
    request_id: str | None
    dedup_key: str | None
    dedup_policy: Literal["return_existing", "reject", "replace_queued"] | None
    after: Sequence[Named | str] | None
    cancellation_policy: CancellationPolicy | None
    traceparent: str | None
    call_timeout: float | timedelta | None


class SpawnOptions(TypedDict, total=False):
    """The options of a spawn: those of an enqueue, without what makes an enqueue unique.

    Attributes:
        mode: as in `EnqueueOptions`, as all others.
        priority: from 0 to 255.
        timeout: the longest that one attempt may run, in seconds.
        retry: the rule for retries.
        delay: how long the child must wait before it can be leased, in seconds.
        not_before: the instant before which the child is not leased.
        start_deadline: the child ends with status `timeout` unless it was leased by then.
        deadline: the child ends with status `timeout` unless it has finished by then.
        context: texts for the worker.
        metadata: JSON values for the worker.
        max_worker_losses: how many times its lease may be lost before the child fails.
        after: the executions that must complete first.
        cancellation_policy: what happens to the children of the child.
        traceparent: a W3C trace context, kept on the record.
    """

    mode: Literal["fire_and_forget", "silent", "deferred"] | None
    priority: int | None
    timeout: float | timedelta | None
    retry: Retry | None
    delay: float | timedelta | None
    not_before: datetime | None
    start_deadline: datetime | None
    deadline: datetime | None
    context: Mapping[str, str] | None
    metadata: Mapping[str, object] | None
    max_worker_losses: int | None
    after: Sequence[Named | str] | None
    cancellation_policy: CancellationPolicy | None
    traceparent: str | None


SPAWN_OPTIONS: Final = tuple(SpawnOptions.__annotations__)


class NodeOptions(TypedDict, total=False):
    """The options of a node of a graph: those of an enqueue, but for what the graph has as a whole.

    Attributes:
        mode: as in `EnqueueOptions`, as all others.
        priority: from 0 to 255.
        timeout: the longest that one attempt may run, in seconds.
        retry: the rule for retries.
        delay: how long the execution must wait before it can be leased, in seconds.
        not_before: the instant before which the execution is not leased.
        start_deadline: the execution ends with status `timeout` unless it was leased by then.
        deadline: the execution ends with status `timeout` unless it has finished by then.
        context: texts for the worker.
        metadata: JSON values for the worker.
        max_worker_losses: how many times its lease may be lost before the execution fails.
        dedup_key: the tenant has at most one unfinished execution with this key.
        dedup_policy: what to do if there is one already.
        cancellation_policy: what happens to its unfinished children.
        traceparent: a W3C trace context, kept on the record.
    """

    mode: Literal["fire_and_forget", "silent", "deferred"] | None
    priority: int | None
    timeout: float | timedelta | None
    retry: Retry | None
    delay: float | timedelta | None
    not_before: datetime | None
    start_deadline: datetime | None
    deadline: datetime | None
    context: Mapping[str, str] | None
    metadata: Mapping[str, object] | None
    max_worker_losses: int | None
    dedup_key: str | None
    dedup_policy: Literal["return_existing", "reject", "replace_queued"] | None
    cancellation_policy: CancellationPolicy | None
    traceparent: str | None
