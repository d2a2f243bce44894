"""Owns what the errors of calls mean to whoever typed a command: a line, and an exit status."""

from __future__ import annotations

from typing import Final, NamedTuple

from backlane import errors
from backlane.cli.exits import Exit
from backlane.cli.trouble import Trouble


class _Row(NamedTuple):
    """An error, the exit status it leads to, and the line that tells it."""

    error: type[errors.BacklaneError]
    status: Exit
    line: str


_ROWS: Final = (
    _Row(
        errors.DrainingError,
        Exit.UNAVAILABLE,
        "the server at {target} is about to stop: try again once it is back",
    ),
    _Row(errors.StoreUnavailableError, Exit.UNAVAILABLE, "{error.message}: try again"),
    _Row(
        errors.UnavailableError,
        Exit.UNAVAILABLE,
        "no server at {target}: start one with `backlane serve`, or name another with --target",
    ),
    _Row(
        errors.UnimplementedError,
        Exit.UNAVAILABLE,
        "the server at {target} does not know this call: it is no Backlane server, or one of "
        "another version than this command; see `backlane --version`",
    ),
    _Row(
        errors.CallTimeoutError,
        Exit.UNAVAILABLE,
        "what is at {target} did not answer in time: a server that is busy or stuck, try again; "
        "or something else, name another with --target",
    ),
    _Row(
        errors.CallCancelledError,
        Exit.UNAVAILABLE,
        "the server at {target} is stopping: try again once it is back",
    ),
    _Row(
        errors.InternalError,
        Exit.UNAVAILABLE,
        "the server at {target} failed: {error.message}; its log has {error.correlation_id}",
    ),
    _Row(errors.ResourceExhaustedError, Exit.UNAVAILABLE, "{error.message}: try again later"),
    _Row(
        errors.ExecutionNotFoundError,
        Exit.NOT_FOUND,
        "tenant {error.tenant_id} has no execution {error.execution_id}: name another tenant "
        "with --tenant, or see `backlane list{flags}`",
    ),
    _Row(errors.NotFoundError, Exit.NOT_FOUND, "{error.message}"),
    _Row(
        errors.TransitionNotAllowedError,
        Exit.REFUSED,
        "{error.execution_id} has already ended: {error.status}; see `backlane get "
        "{error.execution_id}{flags}`",
    ),
    _Row(
        errors.RequestIdReusedError,
        Exit.REFUSED,
        "{error.message}: name another --request-id, or repeat the same request",
    ),
    _Row(
        errors.AlreadyExistsError,
        Exit.REFUSED,
        "{error.message}: see `backlane get {error.execution_id}{flags}`",
    ),
    _Row(errors.InvalidArgumentError, Exit.USAGE, "{error.message}"),
    _Row(errors.OutOfRangeError, Exit.USAGE, "{error.message}"),
    _Row(errors.MessageTooLargeError, Exit.USAGE, "{error.message}"),
    _Row(errors.BacklaneError, Exit.REFUSED, "{error}"),
)
"""The first that fits counts."""

_STRANGER: Final = "what answers at {target} is no Backlane server: name another with --target"
_CLUES: Final = {
    "http1": _STRANGER,
    "HTTP/2": _STRANGER,
    "SETTINGS": "what answers at {target} says nothing: a server that is stuck, or none of "
    "Backlane's; name another with --target",
    "lookup": "there is no host of that name, {target}: name another with --target",
}
"""What gRPC says when it is not simply that nobody listens there."""


def trouble_of(error: errors.BacklaneError, target: str, flags: str = "") -> Trouble:
    """Say what an error means, and what to do next; flags are what a next command needs."""
    row = next(row for row in _ROWS if isinstance(error, row.error))
    line = row.line
    if row.error is errors.UnavailableError:
        line = next((line for clue, line in _CLUES.items() if clue in error.message), line)
    return Trouble(line.format(error=error, target=target, flags=flags), row.status)
