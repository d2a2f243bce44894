"""Owns which failed calls may pass later, and the pauses between their attempts."""

from __future__ import annotations

import random
from typing import Final

from backlane import errors

BACKOFF_FIRST_S: Final = 0.05
BACKOFF_LAST_S: Final = 1.0


class Backoff:
    """Pauses that grow, with jitter: a server's restart is not met by all clients at once."""

    def __init__(self) -> None:
        """Begin with a short pause."""
        self._next_s = BACKOFF_FIRST_S

    def pause_s(self, error: errors.BacklaneError) -> float:
        """Return the pause after an error, in seconds; at least what the server asks for."""
        if not (is_passing(error) or is_untold(error)):
            return 0.0
        jittered_s = self._next_s * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
        self._next_s = min(self._next_s * 2, BACKOFF_LAST_S)
        return max(jittered_s, error.retry_after_s or 0.0)


def is_passing(error: errors.BacklaneError) -> bool:
    """Tell whether the server was away or about to stop, so that the same call may pass later."""
    return isinstance(error, errors.UnavailableError | errors.CallCancelledError)


def is_untold(error: errors.BacklaneError) -> bool:
    """Tell whether the reason of a stream's end is unknown.

    A write that meets the end makes grpc.aio put an INTERNAL of its own in place of the status.
    """
    return isinstance(error, errors.InternalError) and not error.reason
