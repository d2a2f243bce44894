"""Tools for the tests of a program: a real server, a clock to move, a context without a server.

The pytest plug-in in `backlane.testing.plugin` has fixtures for them. pytest finds it wherever
Backlane is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backlane.testing.clock import Clock, ClockError
from backlane.testing.server import ServerProcess, ServerStartError
from backlane.testing.start_worker import StartWorker

if TYPE_CHECKING:
    from backlane.testing.context import FakeContext

__all__ = [
    "Clock",
    "ClockError",
    "FakeContext",
    "ServerProcess",
    "ServerStartError",
    "StartWorker",
]


def __getattr__(name: str) -> object:
    """Import `FakeContext` on first use, because the messages that it needs import slowly."""
    if name != "FakeContext":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from backlane.testing.context import FakeContext  # noqa: PLC0415  # see above

    return FakeContext
