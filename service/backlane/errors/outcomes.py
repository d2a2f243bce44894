"""Owns the exceptions that no call raises: of executions, of waits, of a client's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backlane.schema.records import BackgroundExecution


class ExecutionEndedError(Exception):
    """A result was asked for, and the execution ended without one.

    Attributes:
        execution: its record, whose `error`, `reason` and `actor` say why.
    """

    def __init__(self, execution: BackgroundExecution) -> None:
        """Describe an end."""
        super().__init__(execution)
        self.execution = execution

    def __str__(self) -> str:
        """Say what ended, how, and why."""
        execution, error = self.execution, self.execution.error
        ended = f"{execution.callable_name} {execution.execution_id} ended {execution.status}"
        if error is None:
            return f"{ended}, reason {execution.reason}" if execution.reason else ended
        is_news = error.code and not error.message.startswith(error.code)
        code = f" {error.code}" if is_news else ""
        attempts = "" if execution.attempt <= 1 else f" after {execution.attempt} attempts"
        return f"{ended}{attempts}: {error.category}{code}: {error.message}"


class ExecutionFailedError(ExecutionEndedError):
    """It failed, and no retry was left."""


class ExecutionCancelledError(ExecutionEndedError):
    """It was cancelled."""


class ExecutionTimedOutError(ExecutionEndedError):
    """A clock ended it: an attempt's timeout or a deadline."""


class NotFinishedError(TimeoutError):
    """The time to wait was over before the execution was. It goes on; ask again.

    Attributes:
        execution_id: which one it is.
        status: where it stands, as far as that is known.
    """

    def __init__(self, execution_id: str, status: str, timeout_s: float) -> None:
        """Say how long it was waited for."""
        # Not to `TimeoutError` itself, for which two arguments are an errno and its text.
        super().__init__()
        self.execution_id = execution_id
        self.status = status
        self.timeout_s = timeout_s

    def __reduce__(self) -> tuple[type[NotFinishedError], tuple[str, str, float]]:
        """Pickle by what it was made of."""
        return type(self), (self.execution_id, self.status, self.timeout_s)

    def __str__(self) -> str:
        """Say where it stands, and what that may mean."""
        text = f"{self.execution_id} is still {self.status} after {self.timeout_s:g} s"
        if self.status == "queued":
            text += ": no worker has taken it; is one running that offers its callable?"
        return text


class EnqueueManyError(Exception):
    """Some of many enqueues were refused; the others were made.

    Attributes:
        outcomes: one for each input, in order: a handle, or the error. Handles do not leave their
            process: pickled, there are ids in their places.
    """

    def __init__(self, outcomes: Sequence[Any]) -> None:
        """Keep every outcome."""
        super().__init__(outcomes)
        self.outcomes = outcomes

    def __reduce__(self) -> tuple[type[EnqueueManyError], tuple[list[Any]]]:
        """Pickle with ids in place of handles, which belong to a client."""
        outcomes = [
            one if isinstance(one, Exception) else getattr(one, "execution_id", one)
            for one in self.outcomes
        ]
        return type(self), (outcomes,)

    @property
    def errors(self) -> list[Exception]:
        """What was refused, in order."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Exception)]

    def __str__(self) -> str:
        """Count, and show the first."""
        errors = self.errors
        return f"{len(errors)} of {len(self.outcomes)} enqueues were refused, first: {errors[0]}"


class InvalidInputError(ValueError):
    """An input or an option that cannot be sent; the message names it. Nothing was sent."""


class ForkedError(RuntimeError):
    """A client was used in a process that was forked after it was made: gRPC cannot go on there."""

    def __init__(self, what: str, made_in: int, used_in: int) -> None:
        """Name both processes."""
        super().__init__(what, made_in, used_in)
        self.made_in = made_in
        self.used_in = used_in

    def __str__(self) -> str:
        """Say what to do instead."""
        what, made_in, used_in = self.args
        return (
            f"this {what} was made in process {made_in} and cannot be used in {used_in}, a fork "
            f"of it: make it after the fork, or start processes with the `spawn` method"
        )
