"""Owns one call of a step: the stored output, or a run of the function whose output is stored.

Arguments and outputs are JSON. The output is read back from its JSON even if the function has just
run, so that a callable meets the same value in each attempt.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Literal
from weakref import WeakKeyDictionary

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from backlane.errors import StepInputError, StepOutputError
from backlane.schema.dump import dump_text
from backlane.schema.values import NotJsonError
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.annotations import Annotations, problems
from backlane.worker.report import step_error
from backlane.worker.track import digest_of
from backlane.worker.words import name_of_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backlane.worker.track import Place, Track
    from backlane.worker.waits import Waits

StepKind = Literal["function", "llm", "tool", "graph", "custom"]
"""The kind of work that a step does, for those who read the record."""

INPUT_BYTES_MAX: Final = 16 << 10
"""The arguments of a step are recorded for readers up to this size. Their hash always is."""
OUTPUT_BYTES_MAX: Final = 1 << 20
"""The server keeps no more of all steps of an execution together."""
_ADAPTERS: Final[WeakKeyDictionary[Callable[..., Any], TypeAdapter[Any] | None]] = (
    WeakKeyDictionary()
)
INSIDE: Final[ContextVar[Place | None]] = ContextVar("backlane_step", default=None)
"""The step whose function runs here; None outside of steps."""


class StepCall:
    """One call of `ctx.step`."""

    __slots__ = (
        *("_adapter", "_args", "_function", "_key", "_kind", "_kwargs", "_name"),
        *("_track", "_waits"),
    )

    def __init__(  # noqa: PLR0913  # what a call has
        self,
        track: Track,
        waits: Waits,
        name: str,
        function: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        *,
        key: str | None = None,
        kind: StepKind = "function",
    ) -> None:
        """Describe it.

        Raises:
            CallableError: the function's return annotation cannot be used.
        """
        self._track = track
        self._waits = waits
        self._name = name
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._key = key or ""
        self._kind = kind
        self._adapter = _adapter_of(function)

    async def run_async(self, *, is_pausing: Callable[[], bool]) -> Any:  # noqa: ANN401  # output
        """Take the step in a task."""
        self._waits.note_branch()
        place, step = self._enter()
        try:
            if place.is_completed:
                return self._restored(place)
            if is_pausing() and not INSIDE.get():
                await self._waits.block(None)
            self._track.start(place, step)
            inside = INSIDE.set(place)
            try:
                output = self._function(*self._args, **self._kwargs)
                if inspect.isawaitable(output):
                    output = await output
                text, value = self._dumped(output)
            except BaseException as error:
                self._fail(place, error)
                raise
            finally:
                INSIDE.reset(inside)
            await self._track.complete(place, text)
            return value
        finally:
            self._track.leave(place)

    def run(self, *, is_pausing: Callable[[], bool]) -> Any:  # noqa: ANN401  # output
        """Take the step in a thread."""
        place, step = self._enter()
        try:
            if place.is_completed:
                return self._restored(place)
            if is_pausing() and not INSIDE.get():
                self._waits.block_thread(None)
            self._track.start(place, step)
            inside = INSIDE.set(place)
            try:
                output = self._function(*self._args, **self._kwargs)
                self._check_is_no_awaitable(output)
                text, value = self._dumped(output)
            except BaseException as error:
                self._fail(place, error)
                raise
            finally:
                INSIDE.reset(inside)
            self._track.complete_in_thread(place, text)
            return value
        finally:
            self._track.leave(place)

    def _enter(self) -> tuple[Place, api.NewStep]:
        """Find the step's place; return it, and the message for its start."""
        try:
            whole = dump_text([list(self._args), dict(self._kwargs)])
        except NotJsonError as problem:
            raise StepInputError(
                f"step {self._name!r}: the arguments are not JSON: {problem}; pass a function that "
                "has them, such as `lambda: fetch(session, url)`, and only what identifies the "
                "step as arguments"
            ) from problem
        number = records.StepType.Value(name_of_word("kind", self._kind, StepKind, "STEP_TYPE_"))
        digest = digest_of(whole)
        outer = INSIDE.get()
        place = self._track.enter(self._name, self._key, number, digest, outer)
        step = api.NewStep(step_type=number, arguments_hash=digest)
        if (self._args or self._kwargs) and len(whole) <= INPUT_BYTES_MAX:
            step.input = _input(whole, self._args, self._kwargs)
        if outer is not None:
            step.parent_step_id = outer.step_id
        return place, step

    def _check_is_no_awaitable(self, output: object) -> None:
        if not inspect.isawaitable(output):
            return
        if inspect.iscoroutine(output):
            output.close()  # or Python would warn that it was never awaited
        raise StepOutputError(
            f"step {self._name!r}: the function returned a {type(output).__name__}, which a plain "
            "callable cannot await: make the callable an `async def`, and await the step"
        )

    def _restored(self, place: Place) -> object:
        """Return the output that an earlier attempt stored."""
        recorded = place.recorded
        if recorded is None or not recorded.HasField("output"):
            return None
        return self._loaded(recorded.output, "stored output")

    def _dumped(self, output: object) -> tuple[str | None, object]:
        """Return an output as text, and as it comes back from that."""
        if output is None:
            return None, None
        try:
            text = dump_text(output)
        except NotJsonError as problem:
            raise StepOutputError(f"step {self._name!r}: the output {problem}") from problem
        if (size := len(text.encode())) > OUTPUT_BYTES_MAX:
            raise StepOutputError(
                f"step {self._name!r}: the output has {size} bytes, and the limit is "
                f"{OUTPUT_BYTES_MAX}, with all other steps of the execution: store it elsewhere, "
                "and return where"
            )
        return text, self._loaded(text, "output")

    def _loaded(self, text: str, what: str) -> object:
        if self._adapter is None:
            return from_json(text)
        try:
            # Validated as JSON: a strict type accepts a string for a date from JSON only.
            return self._adapter.validate_json(text)
        except ValidationError as error:
            raise StepOutputError(
                f"step {self._name!r}: the {what} does not fit the annotation of the function: "
                f"{problems(error, 'output')}"
            ) from error

    def _fail(self, place: Place, error: BaseException) -> None:
        self._track.fail(place, step_error(error))


def _input(whole: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
    """Return the arguments for those who read the record: a single one as it is.

    Args:
        whole: a list of `args` and `kwargs`, as JSON.
        args: the arguments.
        kwargs: the arguments by name.
    """
    if kwargs:
        return dump_text({"args": list(args), **kwargs} if args else dict(kwargs))
    # `[[1,2],{}]`: making the text of the inner list once more would take as long as the rest.
    return whole[2:-5] if len(args) == 1 else whole[1:-4]


def _adapter_of(function: Callable[..., Any]) -> TypeAdapter[Any] | None:
    """Return what validates a function's output; None if it is not annotated.

    Raises:
        CallableError: the annotation cannot be resolved, or pydantic cannot validate it.
    """
    while isinstance(function, functools.partial):
        function = function.func
    # A bound method is made anew each time that it is looked up, and its function is not.
    function = getattr(function, "__func__", function)
    try:
        return _ADAPTERS[function]
    except (KeyError, TypeError):  # it is new, or cannot be referred to weakly
        pass
    adapter = _new_adapter(function)
    with contextlib.suppress(TypeError):
        _ADAPTERS[function] = adapter
    return adapter


def _new_adapter(function: Callable[..., Any]) -> TypeAdapter[Any] | None:
    if not getattr(inspect.unwrap(function), "__annotations__", True):
        return None
    annotations = Annotations(function, f"the step's function {function!r}")
    hint = annotations.hint("return")
    if hint is Any:
        return None
    try:
        return _kept_adapter(hint)
    except Exception:  # noqa: BLE001  # of what cannot be kept the other one tells why
        return annotations.adapter(hint)


@functools.lru_cache(maxsize=1024)
def _kept_adapter(hint: Any) -> TypeAdapter[Any]:  # noqa: ANN401  # an annotation
    adapter = TypeAdapter(hint)
    if not adapter.pydantic_complete:
        raise TypeError("it names types that have to be looked up")
    return adapter
