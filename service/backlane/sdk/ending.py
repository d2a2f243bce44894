"""Owns the way from a finished execution to its result, or to the error that says how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backlane import errors
from backlane.schema.records import Status

if TYPE_CHECKING:
    from backlane.schema.records import BackgroundExecution


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
