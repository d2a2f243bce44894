"""Owns waits for several executions: which ids are asked for, and what the answers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from backlane import errors
from backlane.schema.named import id_of
from backlane.schema.records import BackgroundExecution
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backlane.schema.named import Named

IDS_MAX: Final = 1000
"""The most ids that one call can wait for."""

Until: TypeAlias = Literal["all", "any"] | int
"""When a wait is over: once all executions have ended, once any has, or once so many have."""


@dataclass(frozen=True, slots=True)
class WaitResult:
    """The result of a wait.

    Attributes:
        outcomes: one for each execution that was named, in order: the record, finished or not and
            without input and output, or the error of an id that cannot be waited for.
        satisfied: whether what was waited for has happened; False where the time was over before.
    """

    outcomes: Sequence[BackgroundExecution | errors.BacklaneError]
    satisfied: bool

    @property
    def finished(self) -> list[BackgroundExecution]:
        """The records of executions that have ended."""
        return [
            one for one in self.outcomes if isinstance(one, BackgroundExecution) and one.is_finished
        ]

    @property
    def errors(self) -> list[errors.BacklaneError]:
        """The errors of ids that cannot be waited for; for `until` they count as ended."""
        return [one for one in self.outcomes if not isinstance(one, BackgroundExecution)]


def ids_of(executions: Iterable[Named | str], until: Until) -> list[str]:
    """Return the ids to wait for, in the order in which they were named.

    Raises:
        TypeError: a single id was given in place of a list.
        ValueError: there are none, too many for this kind of wait, or fewer than are asked for.
    """
    if isinstance(executions, str):
        raise TypeError(f"executions must be a list of handles or ids: [{executions!r}]")
    if until not in {"all", "any"} and not isinstance(until, int):
        raise ValueError(f"until must be 'all', 'any' or a number, not {until!r}")
    named = [id_of(one) for one in executions]
    count = len(set(named))
    if not named:
        raise ValueError("there is nothing to wait for: executions is empty")
    if until != "all" and count > IDS_MAX:
        raise ValueError(f"until={until!r} takes at most {IDS_MAX} executions, not {count}")
    if isinstance(until, int) and not 1 <= until <= count:
        raise ValueError(f"until={until} must be from 1 to {count}, the number of executions")
    return named


def wait_request(tenant_id: str, ids: Sequence[str], until: Until) -> api.WaitRequest:
    """Make the request of one call; its `timeout` is set before each attempt."""
    request = api.WaitRequest(tenant_id=tenant_id, execution_ids=ids)
    if until == "any":
        request.wait_for = api.WAIT_FOR_ANY
    elif until == "all":
        request.wait_for = api.WAIT_FOR_ALL
    else:
        request.wait_for = api.WAIT_FOR_COUNT
        request.count = until
    return request


def put_in_order(named: Sequence[str], parts: Sequence[WaitResult]) -> WaitResult:
    """Join waits that asked for each id once into one result in the order of `named`."""
    outcomes = [outcome for part in parts for outcome in part.outcomes]
    by_id = dict(zip(dict.fromkeys(named), outcomes, strict=True))
    return WaitResult([by_id[one] for one in named], all(part.satisfied for part in parts))


def outcome_of(outcome: api.WaitOutcome) -> BackgroundExecution | errors.BacklaneError:
    """Return the record or the error that a wait answered for one id."""
    if outcome.HasField("status"):
        return errors.from_status(outcome.status)
    return BackgroundExecution(outcome.execution)


def is_bare(outcome: BackgroundExecution | errors.BacklaneError) -> bool:
    """Tell whether an answer had no room for a record, and holds its id alone."""
    return isinstance(outcome, BackgroundExecution) and not outcome.proto.status
