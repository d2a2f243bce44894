"""Owns the list of Backlane's environment variables, and finds misspelt ones.

The names stand here as text, so that a command can be checked without importing the settings and
all other commands; a test compares the list with both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = "BACKLANE_"

VARIABLES: Final = (
    # Of `backlane serve`.
    *("BACKLANE_DATA", "BACKLANE_MEMORY", "BACKLANE_LISTEN", "BACKLANE_LIMITS"),
    *("BACKLANE_RETENTION", "BACKLANE_MAX_STREAMS", "BACKLANE_MAX_IN_FLIGHT"),
    *("BACKLANE_DRAIN_GRACE", "BACKLANE_LOG_LEVEL", "BACKLANE_ACCEPT_LOSS"),
    "BACKLANE_TEST_CLOCK",
    # Of clients and workers.
    *("BACKLANE_TARGET", "BACKLANE_TENANT"),
    # Set by `backlane conformance` for the program that it checks.
    *("BACKLANE_WORKER_NAME", "BACKLANE_CONCURRENCY", "BACKLANE_LEASE_MS", "BACKLANE_DRAIN_MS"),
    # Of Backlane's own tests, which start servers and commands.
    *("BACKLANE_CRASH_CYCLES", "BACKLANE_CRASH_SEED"),
)
"""Every environment variable that Backlane reads."""

_OF_KUBERNETES: Final = re.compile(
    r"BACKLANE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
"""What Kubernetes sets in every pod beside a service whose name begins with `backlane`."""
_LIKENESS_MIN: Final = 0.6


def unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield one line for each `BACKLANE_*` variable that nothing reads."""
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in VARIABLES and not _is_foreign(name, environ):
            yield (
                f"ignored the environment variable {name}, which Backlane does not know"
                f"{_hint(name)}"
            )


def _is_foreign(name: str, environ: Mapping[str, str]) -> bool:
    if name.endswith("_PORT") and "://" in environ[name]:
        return True
    return _OF_KUBERNETES.fullmatch(name) is not None


def _hint(name: str) -> str:
    import difflib

    endings = {known.removeprefix(PREFIX): known for known in VARIABLES}
    near = difflib.get_close_matches(name.removeprefix(PREFIX), endings, 1, _LIKENESS_MIN)
    if near:
        return f": did you mean {endings[near[0]]}?"
    return ": see `backlane serve --help` for the variables of the server"
