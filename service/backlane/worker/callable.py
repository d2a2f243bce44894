"""Owns callables: what a function takes, what it answers, and how both become JSON.

A callable is still the function that it was, to be called and tested as such. Beside that it knows
its name and the defaults that go with each enqueue of it.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, ParamSpec, TypeVar, overload

from pydantic import (
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from backlane.schema.values import NotJsonError, to_value

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType

    from google.protobuf.struct_pb2 import Value

    from backlane.schema.options import EnqueueOptions
    from backlane.worker.context import Context

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
I = TypeVar("I")  # noqa: E741  # the input's type
O = TypeVar("O")  # noqa: E741  # the output's type

CONTEXT_PARAMETER: Final = "ctx"
_OF_METHODS: Final = {"self", "cls"}
_KINDS: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_UNUSABLE: Final = (
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
)
"""What pydantic raises for a type that it cannot validate."""


class CallableError(TypeError):
    """A function that cannot be a callable; the message says why in one line."""


class InputError(ValueError):
    """An execution's input is not what the callable takes."""


class OutputError(ValueError):
    """What a callable returned cannot be an output."""


class BackgroundCallable(Generic[P, R_co]):
    """A function under a name. Calling it calls the function.

    Attributes:
        function: the function itself.
        name: what executions of it are enqueued as.
        defaults: options of each enqueue that is made with it rather than with its name.
        concurrency: how many of it one worker runs at once; None shares the worker's slots.
        is_async: whether it is an `async def`, as what runs first when it is called: a decorator's
            own function, or the `__call__` of an object.
        takes_context: whether its first parameter is `ctx`.
        takes_input: whether it takes an input.
    """

    def __init__(
        self,
        function: Callable[P, R_co],
        *,
        name: str | None = None,
        defaults: EnqueueOptions | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Take a function in.

        Raises:
            CallableError: it takes more than `ctx` and one input, yields, or is a method without
                its object.
        """
        functools.update_wrapper(self, function)
        self.__dict__.setdefault("__qualname__", repr(function))
        self.function = function
        self.name = name if name is not None else _name_of(function)
        self.defaults: EnqueueOptions = defaults if defaults is not None else {}
        self.concurrency = concurrency
        self.is_async = inspect.iscoroutinefunction(_runs_first(function))
        parameters = _parameters(function, self.name)
        self.takes_context = bool(parameters) and parameters[0].name == CONTEXT_PARAMETER
        inputs = parameters[self.takes_context :]
        self._input = inputs[0] if inputs else None
        self.takes_input = self._input is not None
        # Classes of an enclosing function are known there alone, and only now.
        self._annotated = _annotated(function)
        self._locals = _locals_around(self._annotated)

    def __repr__(self) -> str:
        """Name it."""
        return f"<callable {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function."""
        return self.function(*args, **kwargs)

    # Each line tells a type checker how the function's own type gives input and output; together
    # they let `client.run(greet, "Ada")` be checked. mypy has no way to say that a generic class
    # is a callable of just these parameters, which its first complaint is about; its second is
    # that a function which takes anything fits more than one line, where the first one counts.
    @overload
    def as_target(  # type: ignore[misc]
        self: Callable[[Context, I], Coroutine[Any, Any, O]],
    ) -> Callable[[I], O]: ...
    @overload
    def as_target(  # type: ignore[misc, overload-overlap]
        self: Callable[[Context], Coroutine[Any, Any, O]],
    ) -> Callable[[], O]: ...
    @overload
    def as_target(  # type: ignore[misc, overload-overlap]
        self: Callable[[I], Coroutine[Any, Any, O]],
    ) -> Callable[[I], O]: ...
    @overload
    def as_target(  # type: ignore[misc]
        self: Callable[[], Coroutine[Any, Any, O]],
    ) -> Callable[[], O]: ...
    @overload
    def as_target(  # type: ignore[misc]
        self: Callable[[Context, I], O],
    ) -> Callable[[I], O]: ...
    @overload
    def as_target(  # type: ignore[misc]
        self: Callable[[Context], O],
    ) -> Callable[[], O]: ...
    @overload
    def as_target(self: Callable[[I], O]) -> Callable[[I], O]: ...
    @overload
    def as_target(self: Callable[[], O]) -> Callable[[], O]: ...
    def as_target(self) -> Any:
        """Return itself, as what an enqueue needs to know of it: its input and its output."""
        return self

    def load_input(self, text: str | None) -> tuple[object, ...]:
        """Turn an execution's input into the arguments of the function that follow `ctx`.

        Raises:
            InputError: it does not validate; the message says where.
        """
        if self._input is None:
            return ()
        if text is None and self._input.default is not inspect.Parameter.empty:
            return ()
        try:
            return (self._validate(text),)
        except ValidationError as error:
            raise InputError(_problems(error)) from error

    def dump_output(self, output: object) -> Value:
        """Turn what the function returned into a JSON value.

        Raises:
            OutputError: it is not JSON, nor anything that pydantic can turn into JSON.
        """
        try:
            return to_value(output)
        except NotJsonError as plain:
            # Models, dataclasses, times and the like take the longer way.
            try:
                return to_value(to_jsonable_python(output))
            except NotJsonError as problem:
                raise OutputError(f"output: {problem}") from plain
            except (PydanticSerializationError, ValueError, RecursionError) as problem:
                raise OutputError(f"output: {problem}") from problem

    def load_output(self, output: object) -> object:
        """Turn a JSON output into what the function returns.

        Raises:
            pydantic.ValidationError: it is not of the type that the function is annotated with.
        """
        # As the JSON that it was: a strict type takes no text for a date from anything else.
        return self._output_adapter.validate_json(to_json(output))

    def prepare(self) -> None:
        """Resolve the input's annotation now, rather than with the first execution.

        Raises:
            CallableError: it cannot be resolved, or nothing can be validated against it.
        """
        self._input_adapter  # noqa: B018  # kept once it is made

    def _validate(self, text: str | None) -> object:
        adapter = self._input_adapter
        if text is None:
            return adapter.validate_python(None)
        try:
            return adapter.validate_json(text)
        except ValidationError as error:
            if _admits_text(self._input_hint) and error.errors()[0]["type"] == "json_invalid":
                return adapter.validate_python(text)
            raise

    @functools.cached_property
    def _input_hint(self) -> Any:  # noqa: ANN401  # an annotation
        return self._hint(self._input.name if self._input is not None else "")

    @functools.cached_property
    def _input_adapter(self) -> TypeAdapter[Any]:
        return self._adapter(self._input_hint)

    @functools.cached_property
    def _output_adapter(self) -> TypeAdapter[Any]:
        return self._adapter(self._hint("return"))

    def _hint(self, name: str) -> Any:  # noqa: ANN401  # an annotation
        """Resolve one annotation by itself: the others may name what only type checkers import."""
        given = getattr(self._annotated, "__annotations__", {})
        if name not in given:
            return Any
        only = SimpleNamespace(__annotations__={name: given[name]})
        try:
            hints = typing.get_type_hints(only, self._globals, self._locals, include_extras=True)
        except Exception as error:
            raise CallableError(
                f"callable {self.name}: annotation {given[name]!r} of {name} cannot be resolved: "
                f"{error}"
            ) from error
        return hints[name]

    def _adapter(self, hint: Any) -> TypeAdapter[Any]:  # noqa: ANN401  # an annotation
        try:
            adapter = TypeAdapter(hint)
            if not adapter.pydantic_complete:
                # It names what is not known yet, and would fail with the first execution.
                adapter.rebuild(_types_namespace={**self._globals, **(self._locals or {})})
        except _UNUSABLE as error:
            first = str(error).partition("\n")[0]
            raise CallableError(f"callable {self.name}: {first}") from error
        return adapter

    @property
    def _globals(self) -> dict[str, Any]:
        names: dict[str, Any] = getattr(self._annotated, "__globals__", {})
        return names


def _name_of(function: object) -> str:
    name = getattr(function, "__name__", "")
    if not name or name == "<lambda>":
        raise CallableError(f"{function!r} has no name of its own: give it one with name=")
    return str(name)


def _runs_first(function: object) -> object:
    """Return what a call comes to first: of an object, and of a partial, not they themselves."""
    while isinstance(function, functools.partial | BackgroundCallable):
        function = function.func if isinstance(function, functools.partial) else function.function
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def _annotated(function: object) -> Any:  # noqa: ANN401  # a function or a class
    """Return what has the annotations: inside of decorators and partials."""
    inner: object = None
    while inner is not function:
        inner, function = function, _runs_first(inspect.unwrap(function))  # type: ignore[arg-type]
    return inner


def _parameters(function: Callable[..., object], name: str) -> list[inspect.Parameter]:
    first = _runs_first(function)
    if inspect.isgeneratorfunction(first) or inspect.isasyncgenfunction(first):
        raise CallableError(f"callable {name} yields: a callable returns one output")
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters:
        if parameter.kind not in _KINDS:
            bare = parameter.replace(annotation=inspect.Parameter.empty)
            raise CallableError(
                f"callable {name} takes {bare}: it may take one input, and `ctx` before it"
            )
    names = [parameter.name for parameter in parameters]
    if names and names[0] in _OF_METHODS:
        raise CallableError(
            f"callable {name} takes {names[0]}: offer a method of an object, such as mailer.send"
        )
    if CONTEXT_PARAMETER in names[1:]:
        raise CallableError(f"callable {name} takes `ctx` after its input: ctx comes first")
    count = len(parameters) - (bool(parameters) and names[0] == CONTEXT_PARAMETER)
    if count > 1:
        raise CallableError(
            f"callable {name} takes {count} inputs: gather them in one, such as a dataclass"
        )
    return parameters


def _locals_around(function: object) -> dict[str, Any] | None:
    """Return the names of the function in which this one was defined and is decorated."""
    qualified = getattr(function, "__qualname__", "")
    scope, _, _ = qualified.rpartition(".<locals>.")
    if not scope:
        return None
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # the only way to the names around
    while frame is not None and frame.f_code.co_qualname != scope:
        frame = frame.f_back
    return None if frame is None else dict(frame.f_locals)


def _admits_text(hint: object) -> bool:
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _admits_text(typing.get_args(hint)[0])
    parts = typing.get_args(hint)
    return hint is str or any(_admits_text(part) for part in parts if origin is not list)


def _problems(error: ValidationError) -> str:
    """Say in one line what is wrong with an input, the first few problems of it."""
    shown = error.errors(include_url=False, include_input=False, include_context=False)[:3]
    lines = [
        ".".join(["input", *map(str, problem["loc"])]) + f": {problem['msg']}" for problem in shown
    ]
    more = error.error_count() - len(shown)
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")
