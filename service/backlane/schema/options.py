"""Owns what an enqueue can be told beside the callable and its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypedDict, final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

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
"""What kind of trouble an error is. The last four are fatal: never retried."""


@final
class Absent:
    """The type of `ABSENT`, which is not None: an input of None is JSON's null."""

    def __repr__(self) -> str:
        """Say what it is."""
        return "ABSENT"

    def __bool__(self) -> Literal[False]:
        """Count as false, as nothing does."""
        return False


ABSENT: Final = Absent()
"""Stands for an input that is not given."""


@final
class RawInput(str):
    """An input that is sent as it is, instead of as the JSON of a string.

    Example:
        with Client() as client:
            assert client.enqueue("work", "Ada").get().input == '"Ada"'
            assert client.enqueue("work", RawInput("Ada")).get().input == "Ada"
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How failed and timed-out attempts are tried again; one without arguments is the default.

    Attributes:
        max_attempts: attempts that may be spent, the first included; at least 1.
        strategy: how the delay grows: `fixed`, `linear` or `exponential`.
        initial_delay: the delay after the first spent attempt, in seconds.
        backoff_multiplier: what `exponential` multiplies it by each time.
        max_delay: no delay is longer, in seconds.
        jitter: whether delays are spread within ±25 %.
        retry_on: the categories that are tried again; empty means all that are not fatal.

    Example:
        with Client() as client:
            client.enqueue("work", retry=Retry(max_attempts=5, retry_on=["network_error"]))
    """

    max_attempts: int = 3
    strategy: Literal["fixed", "linear", "exponential"] = "exponential"
    initial_delay: float = 1.0
    backoff_multiplier: float = 2.0
    max_delay: float = 60.0
    jitter: bool = True
    retry_on: Sequence[Category] = ()


class EnqueueOptions(TypedDict, total=False):
    """The options of an enqueue. What is left out means the server's default.

    Attributes:
        mode: who waits, and what is streamed; `fire_and_forget` unless told.
        priority: 0 to 255, higher runs sooner; 50 unless told.
        timeout: the longest run of one attempt, in seconds; 300 unless told.
        retry: how attempts are tried again; without it, not at all.
        delay: how long from now it waits before it may be leased, in seconds. Repeated with the
            same `request_id` it is another instant, and refused: give `not_before` there.
        not_before: the instant before which it is not leased; instead of `delay`.
        start_deadline: it ends as `timeout` unless leased before.
        deadline: it ends as `timeout` unless finished before.
        context: texts that travel with it to the worker.
        metadata: JSON values that travel with it to the worker.
        max_worker_losses: lost leases that end it; 3 unless told, 1 means at most once.
        request_id: the same id means the same execution for 24 hours; made up unless told.
        dedup_key: one unfinished execution for each tenant and key.
        dedup_policy: what follows when there is one already.
        traceparent: a W3C trace context, kept on the record.
        call_timeout: how long the call may take, in seconds; the client's own unless told.
    """

    mode: Literal["fire_and_forget", "silent", "deferred"]
    priority: int
    timeout: float | timedelta
    retry: Retry
    delay: float | timedelta
    not_before: datetime
    start_deadline: datetime
    deadline: datetime
    context: Mapping[str, str]
    metadata: Mapping[str, object]
    max_worker_losses: int
    request_id: str
    dedup_key: str
    dedup_policy: Literal["return_existing", "reject", "replace_queued"]
    traceparent: str
    call_timeout: float | timedelta
