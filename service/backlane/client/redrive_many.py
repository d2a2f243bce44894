"""Owns the redrive of many dead letters: which, at what rate, and under which request ids.

Each of them is a call of its own, whose request id is made of the run's name and the dead letter's
id. So a run that broke off can be repeated with its name, and makes nothing twice.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

from backlane import errors
from backlane.schema.options import ABSENT
from backlane.sdk.blocking import finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from datetime import datetime

    from backlane.client.calls import Calls
    from backlane.client.pages import Pages
    from backlane.schema.options import RedriveManyOptions, RedriveOptions
    from backlane.schema.records import BackgroundExecution

NAME_BYTES_MAX: Final = 95
"""The most bytes of a run's name: a request id has a slash and an execution's id as well."""
_STATUSES: Final = ("failed", "timeout")
_OF_MANY: Final = (
    *("callable_name", "status", "since", "until", "limit", "rate", "name", "dry_run"),
)
"""The options that are about the run, and not about each redrive."""
_ENDS_THE_RUN: Final = (
    errors.UnavailableError,
    errors.ResourceExhaustedError,
    errors.CallTimeoutError,
    errors.CallCancelledError,
    errors.UnimplementedError,
    errors.UnauthenticatedError,
    errors.PermissionDeniedError,
    errors.InternalError,
)
"""Errors that the next call would most likely have as well."""


@dataclass(frozen=True, slots=True)
class RedriveOutcome:
    """What became of one dead letter.

    Attributes:
        execution: the dead letter, without input, context and metadata.
        redriven_as: the id of the execution that redrives it; None if it was refused, and in a dry
            run.
        existing: whether that execution was there before.
        dependent_ids: the ids of what was enqueued for dependents.
        error: why it was refused; None if it was not.
    """

    execution: BackgroundExecution
    redriven_as: str | None = None
    existing: bool = False
    dependent_ids: Sequence[str] = ()
    error: errors.BacklaneError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which dead letters are redriven.

    Attributes:
        callable_name: those of this callable; None for every one.
        status: those with this status; None for both.
        since: those that ended at this instant or later; None for all.
        until: those that ended before this instant; None for all.
        limit: how many at most, the newest first; None for all.
    """

    callable_name: str | None
    status: Literal["failed", "timeout"] | None
    since: datetime | None
    until: datetime | None
    limit: int | None

    def __post_init__(self) -> None:
        """Refuse what cannot be chosen."""
        if self.status is not None and self.status not in _STATUSES:
            raise errors.InvalidInputError(
                f"status must be failed or timeout, not {self.status!r}: other executions are no "
                "dead letters"
            )
        for name in ("since", "until"):
            instant = getattr(self, name)
            if instant is not None and instant.tzinfo is None:
                raise errors.InvalidInputError(f"{name} needs a time zone: {instant!r}")
        if self.limit is not None and self.limit < 0:
            raise errors.InvalidInputError(f"limit must not be negative: {self.limit}")

    def fits(self, execution: BackgroundExecution) -> bool:
        """Return whether a dead letter is chosen, but for its callable."""
        if self.status is not None and execution.status != self.status:
            return False
        ended = execution.completed_at
        if self.since is None and self.until is None:
            return True
        if ended is None:
            # Its data is damaged: nobody knows when it ended.
            return False
        return (self.since is None or ended >= self.since) and (
            self.until is None or ended < self.until
        )


class Pace:
    """When the next call of a run is due."""

    def __init__(self, rate: float | None) -> None:
        """Begin with a call that is due at once.

        Args:
            rate: how many calls a second; None for one after the other.

        Raises:
            InvalidInputError: the rate is not a number above 0.
        """
        is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
        if rate is not None and not (is_number and 0 < rate < math.inf):
            raise errors.InvalidInputError(f"rate must be a number above 0, not {rate!r}")
        self._each_s = 0.0 if rate is None else 1 / rate
        self._due = 0.0

    def pause_s(self) -> float:
        """Return how long to wait before the next call, which then counts as made."""
        now = time.monotonic()
        due = max(now, self._due)
        self._due = due + self._each_s
        return due - now


class _RedriveMany:
    """The redrive of many dead letters, which is made as its outcomes are drawn.

    Attributes:
        name: the name of the run. A run that broke off can be repeated with its name within 24
            hours, and makes nothing twice.
    """

    def __init__(self, calls: Calls, options: RedriveManyOptions) -> None:
        """Make a run; a client does.

        Raises:
            InvalidInputError: an option cannot be used.
        """
        if "request_id" in options:
            raise errors.InvalidInputError(
                "request_id is no option of a redrive of many: give it a name"
            )
        name = options.get("name")
        self.name: Final = new_name() if name is None else checked_name(name)
        self._calls = calls
        self._chosen = Choice(
            callable_name=options.get("callable_name"),
            status=options.get("status"),
            since=options.get("since"),
            until=options.get("until"),
            limit=options.get("limit"),
        )
        self._pace = Pace(options.get("rate"))
        self._dry_run = options.get("dry_run", False)
        own = {name: value for name, value in options.items() if name not in _OF_MANY}
        self._options = own

    def _pages(self) -> Pages:
        return self._calls.dead_pages(self._chosen.callable_name, None, full=False)

    async def _redrive(self, execution: BackgroundExecution) -> RedriveOutcome:
        if self._dry_run:
            return RedriveOutcome(execution)
        execution_id = execution.execution_id
        named = {**self._options, "request_id": f"{self.name}/{execution_id}"}
        try:
            reply = await self._calls.redriven(execution_id, ABSENT, cast("RedriveOptions", named))
        except _ENDS_THE_RUN:
            raise
        except errors.BacklaneError as error:
            return RedriveOutcome(execution, error=error)
        made = reply.execution.execution_id
        return RedriveOutcome(execution, made, reply.existing, tuple(reply.dependent_ids))

    def _pause_s(self) -> float:
        return 0.0 if self._dry_run else self._pace.pause_s()


class RedriveMany(_RedriveMany):
    """The redrive of many dead letters, which is made as its outcomes are drawn.

    Attributes:
        name: the name of the run. A run that broke off can be repeated with its name within 24
            hours, and makes nothing twice.
    """

    def __iter__(self) -> Iterator[RedriveOutcome]:
        """Redrive one dead letter after the other, the newest first.

        Raises:
            BacklaneError: the server cannot be asked, or takes no more.
        """
        return itertools.islice(self._outcomes(), self._chosen.limit)

    def _outcomes(self) -> Iterator[RedriveOutcome]:
        pages = self._pages()
        while not pages.is_over:
            for execution in filter(self._chosen.fits, finish(pages.next())):
                if pause_s := self._pause_s():
                    time.sleep(pause_s)
                yield finish(self._redrive(execution))


class AsyncRedriveMany(_RedriveMany):
    """The redrive of many dead letters, which is made as its outcomes are drawn.

    Attributes:
        name: the name of the run. A run that broke off can be repeated with its name within 24
            hours, and makes nothing twice.
    """

    async def __aiter__(self) -> AsyncIterator[RedriveOutcome]:
        """Redrive one dead letter after the other; see `RedriveMany`."""
        left = math.inf if self._chosen.limit is None else self._chosen.limit
        pages = self._pages()
        while left and not pages.is_over:
            for execution in filter(self._chosen.fits, await pages.next()):
                if not left:
                    return
                left -= 1
                if pause_s := self._pause_s():
                    await asyncio.sleep(pause_s)
                yield await self._redrive(execution)


def new_name() -> str:
    """Return a name that no other run has."""
    return f"redrive-{secrets.token_hex(6)}"


def checked_name(name: str) -> str:
    """Return the name of a run if it can be part of a request id.

    Raises:
        InvalidInputError: it cannot.
    """
    is_text = name.isascii() and name.isprintable()
    if not is_text or not 1 <= len(name) <= NAME_BYTES_MAX:
        raise errors.InvalidInputError(
            f"name must have 1 to {NAME_BYTES_MAX} printable ASCII characters, not {name!r}"
        )
    return name
