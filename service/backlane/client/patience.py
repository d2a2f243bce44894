"""Owns the decision whether and when a call is repeated, and the error that a caller gets."""

from __future__ import annotations

import time
from typing import Final

import grpc

from backlane import errors
from backlane.channel import through_proxy
from backlane.sdk.backoff import Backoff, is_passing

_NEVER_REACHED: Final = "failed to connect to all addresses"
_CLUES: Final = {
    "WRONG_VERSION_NUMBER": "the server at {target} does not speak TLS: connect without it",
    "CERTIFICATE_VERIFY_FAILED": "the certificate of the server at {target} is not trusted: give "
    "its CA as `TLS(ca=...)`",
    "Hostname Verification": "the certificate of the server at {target} is for another name: give "
    "that as `TLS(server_name=...)`",
    "Socket closed": "{target} closes each new connection: it may require TLS, or be no Backlane "
    "server",
}
"""What is wrong with a server that is there, by a part of gRPC's text."""


class Patience:
    """One call's deadline, and the pauses between its attempts.

    Every call of a client is safe to repeat: what it creates carries a request id, and the others
    change nothing or the same thing again.
    """

    def __init__(self, timeout_s: float, *, waits: bool = True) -> None:
        """Start the time of a call.

        Args:
            timeout_s: how long all attempts together may take, in seconds.
            waits: whether to try again while the server is away.
        """
        self._deadline = time.monotonic() + timeout_s
        self._waits = waits
        self._backoff = Backoff()

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; never less than a millisecond, for an attempt's sake."""
        return max(0.001, self._deadline - time.monotonic())

    def pause_s(self, error: errors.BacklaneError) -> float | None:
        """Return how long to pause before another attempt; None where there is none."""
        if not self._waits or not is_passing(error):
            return None
        pause_s = self._backoff.pause_s(error)
        return pause_s if time.monotonic() + pause_s < self._deadline else None


def explained(error: errors.BacklaneError, target: str) -> errors.BacklaneError:
    """Return the error with advice where it lacks any: no server there, or an older one."""
    if isinstance(error, errors.UnavailableError) and not (error.reason or error.metadata):
        return nobody_at(target, error.message)
    if isinstance(error, errors.UnimplementedError):
        text = f"the server at {target} does not know this call: it is older than this client, or"
        return errors.UnimplementedError(
            errors.ErrorParts(error.code, f"{text} no Backlane server ({error.message})")
        )
    return error


def nobody_at(target: str, message: str) -> errors.UnavailableError:
    """Return the error of a target where no server can be reached.

    Args:
        target: the server's address.
        message: gRPC's text; empty if there is none.
    """
    is_unreached = _NEVER_REACHED in message
    why = message.partition("last error: ")[2] if is_unreached else message
    clue = next((clue for clue in _CLUES if clue in why), None) if is_unreached else None
    text = _nobody(target) if clue is None else _CLUES[clue].format(target=target)
    message = f"{text} ({why})" if why else text
    return errors.UnavailableError(
        errors.ErrorParts(grpc.StatusCode.UNAVAILABLE, message, metadata={"target": target})
    )


def _nobody(target: str) -> str:
    through = through_proxy(target)
    if not through:
        return f"no server at {target}: start one with `backlane serve`, or name another target"
    return (
        f"no server at {target} {through}: start one with `backlane serve`, name another target, "
        "or list the host in no_proxy"
    )


def silent(target: str, timeout_s: float) -> errors.CallTimeoutError:
    """Return the error of a server that can be reached and does not answer."""
    text = f"{target} did not answer within {timeout_s:g} s"
    return errors.CallTimeoutError(errors.ErrorParts(grpc.StatusCode.DEADLINE_EXCEEDED, text))


def closed() -> errors.CallCancelledError:
    """Return the error of a client that was closed."""
    parts = errors.ErrorParts(grpc.StatusCode.CANCELLED, "this client is closed")
    return errors.CallCancelledError(parts)
