"""Backlane: durable background executions over gRPC.

The names below are imported when they are first used, so that `import backlane` costs next to
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from backlane import errors
    from backlane.channel import TLS
    from backlane.client import AsyncClient, AsyncHandle, Client, Graph, Handle, Node
    from backlane.schema.options import RawInput, Retry
    from backlane.schema.records import BackgroundExecution, Status
    from backlane.schema.spawn import ChildMode, InlineMode, from_spawn_mode, should_run_background
    from backlane.schema.task import TaskRecord
    from backlane.worker import (
        BackgroundCallable,
        Child,
        Context,
        DeclaredCallable,
        Failure,
        Throttled,
        Worker,
        declare,
    )

__all__ = [
    "TLS",
    "AsyncClient",
    "AsyncHandle",
    "BackgroundCallable",
    "BackgroundExecution",
    "Child",
    "ChildMode",
    "Client",
    "Context",
    "DeclaredCallable",
    "Failure",
    "Graph",
    "Handle",
    "InlineMode",
    "Node",
    "RawInput",
    "Retry",
    "Status",
    "TaskRecord",
    "Throttled",
    "Worker",
    "__version__",
    "declare",
    "errors",
    "from_spawn_mode",
    "should_run_background",
]

__version__: str

_HOMES: Final = {
    "channel": ("TLS",),
    "client": ("AsyncClient", "AsyncHandle", "Client", "Graph", "Handle", "Node"),
    "schema.options": ("RawInput", "Retry"),
    "schema.records": ("BackgroundExecution", "Status"),
    "schema.spawn": ("ChildMode", "InlineMode", "from_spawn_mode", "should_run_background"),
    "schema.task": ("TaskRecord",),
    "worker": (
        *("BackgroundCallable", "Child", "Context", "DeclaredCallable", "Failure", "Throttled"),
        *("Worker", "declare"),
    ),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from where it is at home."""
    if name == "__version__":
        value: object = importlib.import_module("importlib.metadata").version("backlane")
    elif name == "errors":
        value = importlib.import_module("backlane.errors")
    elif name in _HOME_OF:
        value = getattr(importlib.import_module(f"backlane.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'backlane' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
