"""Owns what a producer needs to know of a callable, and how a call's types follow from it.

Callers give the callable's name or the decorated function itself. Any object with the attributes
of `Target` counts as such a function, so that this package does not depend on workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from backlane.schema.options import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from backlane.schema.options import EnqueueOptions

I_contra = TypeVar("I_contra", contravariant=True)
O_co = TypeVar("O_co", covariant=True)


class Takes(Protocol[I_contra, O_co]):
    """A callable with an input."""

    def as_target(self) -> Callable[[I_contra], O_co]:
        """Show a type checker what goes in and what comes out."""


class TakesNothing(Protocol[O_co]):
    """A callable without an input."""

    def as_target(self) -> Callable[[], O_co]:
        """Show a type checker what comes out."""


@runtime_checkable
class Target(Protocol):
    """A callable that is given as an object: what the client uses of it."""

    name: str
    defaults: EnqueueOptions
    takes_input: bool

    def load_output(self, output: object) -> object:
        """Turn a JSON output into what the function returns."""


def resolve(called: object, given: object) -> tuple[str, Target | None]:
    """Return a callable's name, and the callable where it is more than that.

    Raises:
        TypeError: it is neither a name nor a callable, or it takes no input and is given one.
    """
    if isinstance(called, str):
        return called, None
    if not isinstance(called, Target):
        raise TypeError(
            f"{called!r} is neither a callable's name nor a function decorated as a callable"
        )
    if given is not ABSENT and not called.takes_input:
        raise TypeError(f"callable {called.name} takes no input")
    return called.name, called


def load(target: Target | None, output: object) -> Any:  # noqa: ANN401  # the callable's own type
    """Return an output as its callable returns it; as plain JSON where only a name is known."""
    return output if target is None else target.load_output(output)
