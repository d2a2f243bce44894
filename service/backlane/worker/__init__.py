"""Workers and their callables."""

from backlane.worker.annotations import CallableError
from backlane.worker.callable import BackgroundCallable
from backlane.worker.context import Context
from backlane.worker.declared import DeclaredCallable, declare
from backlane.worker.failure import Failure, Throttled
from backlane.worker.shift import Shift
from backlane.worker.spawning import Child
from backlane.worker.worker import Worker

__all__ = [
    "BackgroundCallable",
    "CallableError",
    "Child",
    "Context",
    "DeclaredCallable",
    "Failure",
    "Shift",
    "Throttled",
    "Worker",
    "declare",
]
