"""Owns what the errors of calls mean on the command line: a message and an exit status."""

from __future__ import annotations

from typing import Final, NamedTuple

from backlane import errors
from backlane.channel import through_proxy
from backlane.cli.exits import Exit
from backlane.cli.trouble import Trouble


class _Row(NamedTuple):
    """An error, its exit status, and its message."""

    error: type[errors.BacklaneError]
    status: Exit
    line: str


_ROWS: Final = (
    _Row(
        errors.DrainingError,
        Exit.UNAVAILABLE,
        "the server at {target} is stopping: try again once it is back",
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
        "the server at {target} does not know this call: it is not a Backlane server, or its "
        "version differs from that of this command; see `backlane --version`",
    ),
    _Row(
        errors.CallTimeoutError,
        Exit.UNAVAILABLE,
        "no reply from {target} in time: the server is busy or stuck, so try again; or it is not "
        "a Backlane server, so name another with --target",
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
        "{error.message}; see `backlane get {error.execution_id}{flags}`",
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
"""The first row whose error matches is used."""

_ENDED: Final = {"completed", "failed", "cancelled", "timeout"}
_PROXIED: Final = (
    "no server at {target} {through}: start one with `backlane serve`, name another with "
    "--target, or list the host in no_proxy"
)
_STRANGER: Final = "the server at {target} is not a Backlane server: name another with --target"
_CLUES: Final = {
    "http1": _STRANGER,
    "HTTP/2": _STRANGER,
    "SETTINGS": "the server at {target} accepts connections and sends nothing: it is stuck, or not "
    "a Backlane server; name another with --target",
    "Socket closed": "the server at {target} closes each new connection: it may require TLS, which "
    "the commands do not speak, or be no Backlane server; name another with --target",
    "lookup": "no host has the name in {target}: name another with --target",
}
"""Messages by a part of gRPC's own text, for cases other than a refused connection."""


def _text_of(error: errors.BacklaneError) -> str:
    """Return the error's text. An open connection that broke off says nothing about new ones."""
    text = error.message
    is_of_new_ones = "failed to connect" in text or "each new connection" in text
    return text if is_of_new_ones else text.replace("Socket closed", "")


def trouble_of(error: errors.BacklaneError, target: str, flags: str = "") -> Trouble:
    """Say what an error means and what to do next.

    Args:
        error: the error of the call.
        target: the server's address.
        flags: options that a suggested command needs, `Place.flags`.
    """
    row = next(row for row in _ROWS if isinstance(error, row.error))
    line = row.line
    through = ""
    if row.error is errors.UnavailableError:
        clue = next((line for clue, line in _CLUES.items() if clue in _text_of(error)), None)
        through = through_proxy(target)
        line = clue or (_PROXIED if through else line)
    if isinstance(error, errors.TransitionNotAllowedError) and error.status not in _ENDED:
        line = "{error.message}: see `backlane get {error.execution_id}{flags}`"
    told = line.format(error=error, target=target, flags=flags, through=through)
    return Trouble(told, row.status)
