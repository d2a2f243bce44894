"""Owns the exceptions about executions, about waits, and about misuse of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backlane.schema.records import BackgroundExecution


class ExecutionEndedError(Exception):
    """The execution ended without a result.

    Attributes:
        execution: the record; its `error`, `reason` and `actor` say why.
    """

    def __init__(self, execution: BackgroundExecution) -> None:
        """Make an error of the execution's record."""
        super().__init__(execution)
        self.execution = execution

    def __str__(self) -> str:
        """Return which execution ended, how, and why."""
        execution, error = self.execution, self.execution.error
        ended = f"{execution.callable_name} {execution.execution_id} ended {execution.status}"
        if error is None:
            return f"{ended}, reason {execution.reason}" if execution.reason else ended
        is_news = error.code and not error.message.startswith(error.code)
        code = f" {error.code}" if is_news else ""
        attempts = "" if execution.attempt <= 1 else f" after {execution.attempt} attempts"
        return f"{ended}{attempts}: {error.category}{code}: {error.message}"


class ExecutionFailedError(ExecutionEndedError):
    """The execution failed, and no retry was left."""


class ExecutionCancelledError(ExecutionEndedError):
    """The execution was cancelled."""


class ExecutionTimedOutError(ExecutionEndedError):
    """The execution ended by a timeout of its last attempt, or by a deadline."""


class NotFinishedError(TimeoutError):
    """The wait timed out before the execution ended. The execution continues; wait again.

    Attributes:
        execution_id: the id of the execution.
        status: its status when the wait ended, as far as that is known.
        timeout_s: how long the wait took, in seconds.
    """

    def __init__(self, execution_id: str, status: str, timeout_s: float) -> None:
        """Make an error of the execution's id and status, and the length of the wait."""
        # `TimeoutError` itself would take two arguments for an error number and its text.
        super().__init__()
        self.execution_id = execution_id
        self.status = status
        self.timeout_s = timeout_s

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments of the constructor."""
        arguments = (self.execution_id, self.status, self.timeout_s)
        return type(self), arguments, dict(vars(self))

    def __repr__(self) -> str:
        """Return the message; the arguments that the default would show are empty."""
        return f"{type(self).__name__}({str(self)!r})"

    def __str__(self) -> str:
        """Return the status, and a hint if no worker has taken the execution."""
        text = f"{self.execution_id} is still {self.status} after {self.timeout_s:g} s"
        if self.status == "queued":
            text += ": no worker has taken it; is one running that offers its callable?"
        return text


class EnqueueManyError(Exception):
    """Some enqueues of an `enqueue_many` were refused; all others succeeded.

    Attributes:
        outcomes: one for each input, in order: a handle or an error. A pickled error has ids in the
            place of handles, because a handle cannot leave its process.
    """

    def __init__(self, outcomes: Sequence[Any]) -> None:
        """Make an error of all outcomes."""
        super().__init__(outcomes)
        self.outcomes = outcomes

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with ids in the place of handles, which belong to a client."""
        outcomes = [
            one if isinstance(one, Exception) else getattr(one, "execution_id", one)
            for one in self.outcomes
        ]
        return type(self), (outcomes,), {**vars(self), "outcomes": outcomes}

    @property
    def errors(self) -> list[Exception]:
        """The errors among the outcomes, in order."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Exception)]

    def __str__(self) -> str:
        """Return the number of errors, and the first one."""
        errors = self.errors
        return f"{len(errors)} of {len(self.outcomes)} enqueues were refused, first: {errors[0]}"


class InvalidInputError(ValueError):
    """An input or an option cannot be sent. The message names it, and nothing was sent."""


class ForkedError(RuntimeError):
    """A client was used in a fork of its process, where gRPC does not work."""

    def __init__(self, what: str, made_in: int, used_in: int) -> None:
        """Make an error of the class's name and the ids of both processes."""
        super().__init__(what, made_in, used_in)
        self.made_in = made_in
        self.used_in = used_in

    def __str__(self) -> str:
        """Return what happened and what to do instead."""
        what, made_in, used_in = self.args
        return (
            f"this {what} was opened in process {made_in} and cannot be used in {used_in}, a fork "
            f"of it: make it after the fork, or start processes with the `spawn` method"
        )
