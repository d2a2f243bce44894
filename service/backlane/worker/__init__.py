"""Workers and their callables."""

from backlane.worker.callable import BackgroundCallable, CallableError
from backlane.worker.context import Context
from backlane.worker.failure import Failure, Throttled
from backlane.worker.shift import Shift
from backlane.worker.worker import Worker

__all__ = [
    "BackgroundCallable",
    "CallableError",
    "Context",
    "Failure",
    "Shift",
    "Throttled",
    "Worker",
]
