"""Owns the exceptions about steps and waits, which a callable meets while it runs.

A `StepError` says that the code and what is recorded of the execution do not fit, or that the
server cannot record more. Another attempt would meet it again, so the worker fails the execution
with a category that is never retried, unless the callable catches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from backlane.schema.options import Category


class StepError(Exception):
    """A step or a wait cannot be taken.

    Attributes:
        code: the code of the execution's error.
        category: its category, which is fatal.
    """

    code: ClassVar[str] = "STEP_ERROR"
    category: Category = "validation_error"


class StepMismatchError(StepError):
    """An earlier attempt recorded another step in this place: other arguments, or another kind."""

    code = "STEP_MISMATCH"


class StepsAtOnceError(StepError):
    """Two steps of one name run at once, so that nothing tells them apart: give each a `key`."""

    code = "STEPS_AT_ONCE"


class StepVersionError(StepError):
    """The steps of the execution were recorded by another version of the callable."""

    code = "STEP_VERSION"


class StepInputError(StepError):
    """The arguments of a step are not JSON, so that they cannot be told from others."""

    code = "STEP_INPUT"


class StepOutputError(StepError):
    """The output of a step is not JSON, is too large, or does not fit the annotation."""

    code = "STEP_OUTPUT"


class StepRefusedError(StepError):
    """The server did not record a step, such as one beyond the limits of a run.

    Its `__cause__` is the server's refusal. The category is `quota_exceeded` for a limit, else
    `kernel_internal`.
    """

    code = "STEP_REFUSED"
    category: Category = "kernel_internal"


class NoInputError(TimeoutError):
    """A wait for input is over without one: its time has passed, or the execution was resumed.

    Attributes:
        key: the key of the input.
    """

    def __init__(self, key: str, why: str) -> None:
        """Make an error of the input's key, and why there is none."""
        # `TimeoutError` itself would take two arguments for an error number and its text.
        super().__init__()
        self.key = key
        self.why = why

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments of the constructor."""
        return type(self), (self.key, self.why), dict(vars(self))

    def __repr__(self) -> str:
        """Return the message; the arguments that the default would show are empty."""
        return f"{type(self).__name__}({str(self)!r})"

    def __str__(self) -> str:
        """Return which input is missing, and why."""
        return f"there is no input {self.key}: {self.why}"
