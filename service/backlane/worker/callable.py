"""Owns callables: the input and the output of a function, and their conversion from and to JSON.

A callable can be called and tested like the function that it wraps. It also has a name, and default
options for enqueues.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, ParamSpec, TypeVar, overload

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from backlane.schema.dump import dump_value
from backlane.schema.options import Retry
from backlane.schema.ranges import RANGES, check
from backlane.schema.values import NotJsonError
from backlane.worker.annotations import (
    Annotations,
    CallableError,
    Wrapping,
    admits_text,
    is_async,
    name_of,
    problems,
    runs_first,
)
from backlane.worker.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from google.protobuf.struct_pb2 import Value

    from backlane.schema.options import EnqueueOptions

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
I = TypeVar("I")  # noqa: E741  # the input's type
O = TypeVar("O")  # noqa: E741  # the output's type

CONTEXT_PARAMETER: Final = "ctx"
VERSION_BYTES_MAX: Final = 128
PROBLEMS_SHOWN: Final = 3
"""How many problems of an input its error names."""
_OF_METHODS: Final = {"self", "cls"}
_KINDS: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_UNIONS: Final = (typing.Union, UnionType)


class InputError(ValueError):
    """An execution's input does not validate."""


class OutputError(ValueError):
    """The value that a callable returned is not JSON."""


class BackgroundCallable(Wrapping, Generic[P, R_co]):
    """A function with a name. Calling it calls the function.

    Attributes:
        function: the function.
        name: the name for enqueues.
        defaults: options of each enqueue that is made with the callable instead of its name.
        concurrency: how many executions of it one worker runs at once; None shares the worker's
            slots.
        version: the version of its steps; empty if it has none.
        is_async: whether the function is an `async def`. For a decorated function the decorator's
            own function decides, for an object its `__call__`.
        takes_context: whether the first parameter is named `ctx`.
        takes_input: whether there is a parameter for the input.
    """

    function: Callable[P, R_co]

    def __init__(
        self,
        function: Callable[P, R_co],
        *,
        name: str | None = None,
        defaults: EnqueueOptions | None = None,
        concurrency: int | None = None,
        version: str | None = None,
    ) -> None:
        """Make a callable of a function.

        Raises:
            CallableError: the function takes more than `ctx` and one input, yields, has no name, or
                is a method without its object.
            ValueError: an option is out of its range; the message names it.
            TypeError: an option has a wrong type.
        """
        functools.update_wrapper(self, function)
        self.__dict__.setdefault("__qualname__", repr(function))
        self.function = function
        self.name = name if name is not None else name_of(function)
        self.defaults: EnqueueOptions = defaults if defaults is not None else {}
        _check_options({**self.defaults, "concurrency": concurrency})
        self.concurrency = concurrency
        self.version = _checked_version(version)
        self.is_async = is_async(function)
        self._annotations = Annotations(function, f"callable {self.name}")
        parameters = _parameters(function, self.name)
        for parameter in parameters:
            self._check_is_no_context(parameter)
        self.takes_context = bool(parameters) and parameters[0].name == CONTEXT_PARAMETER
        inputs = parameters[self.takes_context :]
        _check_count(inputs, self.name)
        self._input = inputs[0] if inputs else None
        self.takes_input = self._input is not None

    def __repr__(self) -> str:
        """Return the name."""
        return f"<callable {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __reduce__(self) -> str | tuple[object, ...]:
        """Pickle the name in its module, as a function does; its parts if it is not found there."""
        path = str(vars(self)["__qualname__"])
        found: object = sys.modules.get(self.__module__)
        for part in path.split("."):
            found = getattr(found, part, None)
        if found is self:
            return path
        parts = (self.function, self.name, self.defaults, self.concurrency, self.version)
        return _made_again, (type(self), *parts)

    # Each overload tells type checkers how the type of a function gives its input and its output.
    # Together they let `client.run(greet, "Ada")` be checked. mypy cannot express that a generic
    # class is a callable of just these parameters (`misc`), and that a function which takes
    # anything matches several overloads, of which the first is meant (`overload-overlap`).
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
        """Return the callable, typed by its input and its output."""
        return self

    def load_input(self, text: str | None) -> tuple[object, ...]:
        """Turn an execution's input into the function's arguments after `ctx`.

        Raises:
            InputError: the input does not validate; the message says where.
        """
        if self._input is None:
            return ()
        if text is None and self._input.default is not inspect.Parameter.empty:
            return ()
        try:
            return (self._validate(text),)
        except ValidationError as error:
            raise InputError(problems(error, "input", PROBLEMS_SHOWN)) from error

    def dump_output(self, output: object) -> Value:
        """Turn the function's return value into a JSON value.

        Raises:
            OutputError: it is not JSON, or its JSON would not bring it back.
        """
        try:
            return dump_value(output)
        except NotJsonError as problem:
            raise OutputError(f"output: {problem}") from problem

    def load_output(self, output: object) -> object:
        """Turn a JSON output into the function's return type.

        Raises:
            pydantic.ValidationError: the output does not match the return annotation.
        """
        # Validated as JSON: a strict type accepts a string for a date from JSON only.
        return self._output_adapter.validate_json(to_json(output))

    def prepare(self) -> None:
        """Resolve the input's annotation now, and not only for the first execution.

        Raises:
            CallableError: the annotation cannot be resolved, or pydantic cannot validate it.
        """
        self._input_adapter  # noqa: B018  # a cached property

    def _check_is_no_context(self, parameter: inspect.Parameter) -> None:
        """Refuse a context under another name: it would be taken for the input."""
        name = parameter.name
        if name == CONTEXT_PARAMETER:
            return
        try:
            is_context = _is_context(self._annotations.hint(name))
        except CallableError:
            # The class may be defined further down, or be imported for type checkers only.
            is_context = False
        if is_context:
            raise CallableError(
                f"callable {self.name} takes its context as `{name}`: name that parameter `ctx`"
            )

    def _validate(self, text: str | None) -> object:
        adapter = self._input_adapter
        if text is None:
            return adapter.validate_python(None)
        try:
            return adapter.validate_json(text)
        except ValidationError as error:
            if admits_text(self._input_hint) and error.errors()[0]["type"] == "json_invalid":
                return adapter.validate_python(text)
            raise

    @functools.cached_property
    def _input_hint(self) -> Any:  # noqa: ANN401  # an annotation
        return self._annotations.hint(self._input.name if self._input is not None else "")

    @functools.cached_property
    def _input_adapter(self) -> TypeAdapter[Any]:
        return self._annotations.adapter(self._input_hint)

    @functools.cached_property
    def _output_adapter(self) -> TypeAdapter[Any]:
        return self._annotations.adapter(self._annotations.hint("return"))


def _made_again(
    kind: type[BackgroundCallable[P, R_co]],
    function: Callable[P, R_co],
    name: str,
    defaults: EnqueueOptions,
    concurrency: int | None,
    version: str,
) -> BackgroundCallable[P, R_co]:
    """Make the callable of a pickle."""
    return kind(
        function, name=name, defaults=defaults, concurrency=concurrency, version=version or None
    )


def _check_options(given: Mapping[str, object]) -> None:
    """Refuse options here, and not only at each enqueue that has them."""
    for name, value in given.items():
        if value is not None and name in RANGES:
            check(name, value)
    retry = given.get("retry")
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry must be a backlane.Retry, not {retry!r}")


def _checked_version(version: object) -> str:
    """Return a callable's version; empty if there is none.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty, or longer than 128 bytes.
    """
    if version is None:
        return ""
    if not isinstance(version, str):
        raise TypeError(f"version must be a text such as '2', not {version!r}")
    if not 1 <= len(version.encode("utf-8", "replace")) <= VERSION_BYTES_MAX:
        raise ValueError(f"version must have 1 to {VERSION_BYTES_MAX} bytes, not {version!r}")
    return version


def _parameters(function: Callable[..., object], name: str) -> list[inspect.Parameter]:
    first = runs_first(function)
    if inspect.isgeneratorfunction(first) or inspect.isasyncgenfunction(first):
        raise CallableError(f"callable {name} yields: return one output instead")
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters:
        if parameter.kind not in _KINDS:
            bare = parameter.replace(annotation=inspect.Parameter.empty)
            raise CallableError(
                f"callable {name} takes {bare}: a callable takes `ctx` and one input at most"
            )
    names = [parameter.name for parameter in parameters]
    if names and names[0] in _OF_METHODS:
        raise CallableError(
            f"callable {name} takes {names[0]}: pass a method of an object, such as mailer.send"
        )
    if CONTEXT_PARAMETER in names[1:]:
        raise CallableError(f"callable {name} takes `ctx` after its input: put `ctx` first")
    return parameters


def _check_count(inputs: list[inspect.Parameter], name: str) -> None:
    if len(inputs) > 1:
        raise CallableError(
            f"callable {name} takes {len(inputs)} inputs: put them into one, such as a dataclass; "
            "a context is the first parameter and is named `ctx`"
        )


def _is_context(hint: object) -> bool:
    """Return whether an annotation is the context's class, alone, annotated or with None."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        return _is_context(parts[0])
    if typing.get_origin(hint) in _UNIONS:
        return any(_is_context(part) for part in parts)
    return inspect.isclass(hint) and issubclass(hint, Context)
