"""Owns the annotations of functions: which function has them, and the types that they name.

The function may be inside of decorators, of partials, or of an object that is called. A name in an
annotation may belong to the function that encloses it.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import (
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_CONTEXT: Final = "Context"
_UNUSABLE: Final = (
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
)
"""The exceptions of pydantic for a type that it cannot validate."""


class CallableError(TypeError):
    """A function or its annotation cannot be used; the message says why in one line."""


class Wrapping:
    """The base of objects that call a function of theirs.

    Attributes:
        function: the function.
    """

    function: Callable[..., Any]


class Annotations:
    """The annotations of one function, each resolved when it is asked for."""

    def __init__(self, function: object, what: str) -> None:
        """Find the function that has them.

        Args:
            function: the function, or what is around it.
            what: what it is, for messages, such as `callable greet`.
        """
        self._what = what
        # Annotations may name classes of an enclosing function, which are reachable only now.
        self._annotated = _annotated(function)
        self._locals = _locals_around(self._annotated)

    def hint(self, name: str) -> Any:  # noqa: ANN401  # an annotation
        """Resolve one annotation. The others may use names that only type checkers import.

        Raises:
            CallableError: it cannot be resolved.
        """
        given = getattr(self._annotated, "__annotations__", {})
        if name not in given:
            return Any
        only = SimpleNamespace(__annotations__={name: given[name]})
        try:
            hints = typing.get_type_hints(only, self._globals, self._locals, include_extras=True)
        except Exception as error:
            text = str(given[name])
            is_likely = text.rpartition(".")[2] == _CONTEXT
            advice = "; if it is the context, name the parameter `ctx`" if is_likely else ""
            raise CallableError(
                f"{self._what}: annotation {given[name]!r} of {name} cannot be resolved: "
                f"{error}{advice}"
            ) from error
        return hints[name]

    def adapter(self, hint: Any) -> TypeAdapter[Any]:  # noqa: ANN401  # an annotation
        """Return what validates values of an annotation.

        Raises:
            CallableError: pydantic cannot validate it.
        """
        try:
            adapter = TypeAdapter(hint)
            if not adapter.pydantic_complete:
                # It uses names that pydantic has not found, and would fail in the first execution.
                adapter.rebuild(_types_namespace={**self._globals, **(self._locals or {})})
        except _UNUSABLE as error:
            first = str(error).partition("\n")[0]
            raise CallableError(f"{self._what}: {first}") from error
        return adapter

    @property
    def _globals(self) -> dict[str, Any]:
        names: dict[str, Any] = getattr(self._annotated, "__globals__", {})
        return names


def runs_first(function: object) -> object:
    """Return the function that a call enters first, for objects and partials too."""
    while isinstance(function, functools.partial | Wrapping):
        function = function.func if isinstance(function, functools.partial) else function.function
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def is_async(function: object) -> bool:
    """Return whether a function is an `async def`, for objects and partials too."""
    return inspect.iscoroutinefunction(runs_first(function))


def name_of(function: object, advice: str = "give it one with name=") -> str:
    """Return the name of a function.

    Raises:
        CallableError: it has none; the advice says what to do.
    """
    name = getattr(function, "__name__", "")
    if not name or name == "<lambda>":
        raise CallableError(f"{function!r} has no name: {advice}")
    return str(name)


def problems(error: ValidationError, what: str, most: int = 1) -> str:
    """Describe the first few problems of a value in one line, each with the path to its part."""
    shown = error.errors(include_url=False, include_input=False, include_context=False)[:most]
    lines = [
        ".".join([what, *map(str, problem["loc"])]) + f": {problem['msg']}" for problem in shown
    ]
    more = error.error_count() - len(shown) if most > 1 else 0
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def admits_text(hint: object) -> bool:
    """Return whether an annotation admits text: JSON that is none is then taken as it is."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return admits_text(typing.get_args(hint)[0])
    parts = typing.get_args(hint)
    return hint is str or any(admits_text(part) for part in parts if origin is not list)


def _annotated(function: object) -> Any:  # noqa: ANN401  # a function or a class
    """Return the function or class with the annotations, inside of decorators and partials."""
    inner: object = None
    while inner is not function:
        inner, function = function, runs_first(inspect.unwrap(function))  # type: ignore[arg-type]
    return inner


def _locals_around(function: object) -> dict[str, Any] | None:
    """Return the local names of the function in which this one was defined."""
    qualified = getattr(function, "__qualname__", "")
    scope, _, _ = qualified.rpartition(".<locals>.")
    if not scope:
        return None
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # the only way to those names
    while frame is not None and frame.f_code.co_qualname != scope:
        frame = frame.f_back
    return None if frame is None else dict(frame.f_locals)
