"""Owns what a callable's context offers for durable work: steps, sleeps, and waits for input.

Each of them can be awaited where an event loop runs, and blocks elsewhere. Refuses to know what an
attempt is: the context that is built on this tells.
"""

from __future__ import annotations

import asyncio
import functools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar, overload

from pydantic import TypeAdapter, ValidationError

from backlane.errors import NoInputError, StepError, StepOutputError
from backlane.schema.ranges import RANGES, seconds
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.annotations import admits_text, is_async, name_of, problems
from backlane.worker.step_call import INSIDE, StepCall, StepKind
from backlane.worker.track import checked
from backlane.worker.waits import OpenWait
from backlane.worker.words import name_of_word

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from backlane.schema.runs import StepRecord
    from backlane.worker.track import Place, Track
    from backlane.worker.waits import Waits

P = ParamSpec("P")
R = TypeVar("R")

WaitReason = Literal[
    "approval",
    "user_input",
    "rate_limit",
    "external",
    "checkpoint",
    "cost_threshold",
    "memory_pressure",
]
"""What an execution waits for, for those who look at it. The server treats all alike."""

CLOCKS_MS: Final = 1000
"""How far the clocks of the server may be apart for a wait, in milliseconds."""
SHORT_S: Final = 1.0
"""A shorter sleep keeps the worker's slot: giving it back would take longer."""
_SLEEP: Final = "sleep"
_NAMELESS: Final = "give the step one with name="


class Stepping:
    """The steps and waits of an attempt."""

    __slots__ = ()

    @property
    def pause_requested(self) -> bool:
        """Whether a client has paused the execution. It yields at its next step."""
        raise NotImplementedError

    def _open_track(self) -> tuple[Track, Waits]:
        """Return the attempt's steps and waits, which are made when they are first used."""
        raise NotImplementedError

    def _check_going_on(self) -> None:
        """Raise CancelledError if no new step may begin."""
        raise NotImplementedError

    @property
    def steps(self) -> Sequence[StepRecord]:
        """The steps that earlier attempts recorded, in order."""
        raise NotImplementedError

    @overload
    def step(
        self,
        name: str,
        function: Callable[..., Coroutine[Any, Any, R]],
        /,
        *args: object,
        key: str | None = None,
        **kwargs: object,
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def step(
        self,
        name: str,
        function: Callable[..., R],
        /,
        *args: object,
        key: str | None = None,
        **kwargs: object,
    ) -> R: ...
    @overload
    def step(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def step(
        self,
        /,
        *,
        name: str | None = None,
        key: Callable[..., str] | None = None,
        kind: StepKind = "function",
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def step(
        self,
        name: Any = None,  # a name or a function
        function: Any = None,  # the step's
        /,
        *args: object,
        key: Any = None,  # of a call or of a decorator
        **kwargs: Any,  # of the function or of the decorator
    ) -> Any:  # the function's own type
        """Take a durable step: run a function once, and keep its output for all later attempts.

        When the execution is leased again, after a crash, a retry or a wait, a step that has
        completed returns its stored output, and the function does not run. The output is durable
        when this returns. It is JSON, and is validated against the function's return annotation.

        With a name and a function it takes the step at once: `await ctx.step("fetch", fetch, url)`,
        or without `await` in a plain callable. Otherwise it is a decorator, with or without
        parentheses, and each call of the decorated function is a step.

        A callable has to take the same steps in each attempt. A step is known by its name and by
        how many of that name came before it; steps of one name that run at once need a `key`.

        Args:
            name: the step's name, at most 128 bytes; for a decorator the function's own by default.
            function: what the step does. Its other arguments are JSON and are compared with those
                of earlier attempts.
            args: the function's arguments.
            key: tells steps of one name apart; for a decorator a function that makes it of the
                arguments.
            kwargs: the function's arguments by name. A decorator takes `name=` and `kind=`: what
                the step is for readers of the record, such as `llm` or `tool`.

        Raises:
            StepError: the step and what is recorded do not fit, or it cannot be recorded.
        """
        if isinstance(name, str):
            if not callable(function):
                raise TypeError(f"step {name!r} needs a function, not {function!r}")
            return self._take(name, function, args, kwargs, key)
        if name is not None:
            return self._decorated(name, name_of(name, _NAMELESS), None, "function")
        named, kind = kwargs.pop("name", None), kwargs.pop("kind", "function")
        if kwargs or args or function is not None:
            raise TypeError("as a decorator, step takes name=, key= and kind= only")
        name_of_word("kind", kind, StepKind, "STEP_TYPE_")
        return lambda inner: self._decorated(inner, named or name_of(inner, _NAMELESS), key, kind)

    def sleep(self, duration: float | timedelta, *, key: str | None = None) -> Awaitable[None]:
        """Sleep durably: from a second on, the execution waits without a worker.

        The callable begins anew when the time is over, on any worker, and its completed steps are
        not run again.

        Args:
            duration: how long, in seconds; at most 36 500 days.
            key: tells sleeps apart that go on at once.

        Raises:
            CancelledError: the execution is suspended; do not catch it.
        """
        RANGES["sleep"].check("duration", duration)
        return self._sleep(key, seconds=max(0.0, seconds(duration)))

    def sleep_until(self, instant: datetime, *, key: str | None = None) -> Awaitable[None]:
        """Sleep durably until an instant; see `sleep`. In the past it ends at once.

        Args:
            instant: when it ends, with a time zone. An earlier attempt's instant stands.
            key: tells sleeps apart that go on at once.
        """
        if instant.tzinfo is None:
            raise ValueError(f"instant needs a time zone, such as UTC: {instant!r}")
        return self._sleep(key, until=instant)

    def wait_for_input(
        self,
        reason: WaitReason = "user_input",
        *,
        key: str | None = None,
        timeout: float | timedelta | None = None,
        type: Any = Any,  # noqa: A002, ANN401  # an annotation, the input's
    ) -> Any:  # noqa: ANN401  # the input, or what is awaited for it
        """Wait for an input, for however long, without a worker.

        A client or `backlane input` provides it by the execution's id and the key. An input that
        comes before the wait is kept for it.

        Args:
            reason: what the input is, for those who look at the execution.
            key: the input's key, by default the reason.
            timeout: how long to wait, in seconds; None waits for ever.
            type: the input's type, any annotation; the input is JSON and is validated.

        Raises:
            NoInputError: there was none in time, or the execution was resumed without; a
                `TimeoutError`.
            StepOutputError: the input does not fit the type.
            CancelledError: the execution is suspended; do not catch it.
        """
        if timeout is not None:
            RANGES["sleep"].check("timeout", timeout)
        number = records.WaitReason.Value(
            name_of_word("reason", reason, WaitReason, "WAIT_REASON_")
        )
        key = checked("the key of an input", key or reason)
        given = (key, number, None if timeout is None else seconds(timeout), type)
        return self._wait_in_loop(*given) if is_in_loop() else self._wait_in_thread(*given)

    # Steps.

    def _take(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        key: str | None,
        kind: StepKind = "function",
    ) -> object:
        self._check_going_on()
        call = StepCall(*self._open_track(), name, function, args, kwargs, key=key, kind=kind)
        is_pausing = self._is_pausing
        if is_in_loop() or is_async(function):
            return call.run_async(is_pausing=is_pausing)
        return call.run(is_pausing=is_pausing)

    def _decorated(
        self,
        function: Callable[..., Any],
        name: str,
        key: Callable[..., str] | None,
        kind: StepKind,
    ) -> Callable[..., Any]:
        @functools.wraps(function)
        def step(*args: object, **kwargs: object) -> object:
            made = None if key is None else key(*args, **kwargs)
            return self._take(name, function, args, kwargs, made, kind)

        return step

    def _is_pausing(self) -> bool:
        self._check_going_on()
        return self.pause_requested

    # Waits.

    def _enter(self, name: str, key: str | None) -> tuple[Track, Waits, Place]:
        self._check_going_on()
        if INSIDE.get():
            raise StepError(
                f"{name!r} waits inside of a step: a step cannot be suspended; wait between steps"
            )
        track, waits = self._open_track()
        return track, waits, track.enter(name, key or "", records.STEP_TYPE_WAIT, b"")

    def _sleep(
        self, key: str | None, *, seconds: float | None = None, until: datetime | None = None
    ) -> Awaitable[None]:
        in_loop = is_in_loop()
        sleep = self._sleep_in_loop if in_loop else self._sleep_in_thread
        return sleep(key, seconds, until)  # type: ignore[return-value]  # in a thread it is over

    async def _sleep_in_loop(
        self, key: str | None, seconds: float | None, until: datetime | None
    ) -> None:
        track, waits, place = self._enter(_SLEEP, key)
        try:
            waits.note_branch()
            if place.is_completed:
                return
            wait = _sleep_of(place, seconds, until)
            left_s = wait.left_s or 0.0
            if left_s >= SHORT_S:
                await waits.block(wait, left_s)
            track.start(place, api.NewStep(step_type=records.STEP_TYPE_WAIT))
            await asyncio.sleep(wait.left_s or 0.0)
            await track.complete(place, None)
        finally:
            track.leave(place)

    def _sleep_in_thread(
        self, key: str | None, seconds: float | None, until: datetime | None
    ) -> None:
        track, waits, place = self._enter(_SLEEP, key)
        try:
            if place.is_completed:
                return
            wait = _sleep_of(place, seconds, until)
            left_s = wait.left_s or 0.0
            if left_s >= SHORT_S:
                waits.block_thread(wait)
            track.start(place, api.NewStep(step_type=records.STEP_TYPE_WAIT))
            self._pass_time(wait.left_s or 0.0)
            track.complete_in_thread(place, None)
        finally:
            track.leave(place)

    def _pass_time(self, seconds: float) -> None:
        """Sleep in a thread, until the attempt has to stop.

        Raises:
            CancelledError: it has to.
        """
        raise NotImplementedError

    async def _wait_in_loop(
        self, key: str, reason: int, timeout_s: float | None, kind: object
    ) -> object:
        track, waits, place = self._enter(key, None)
        try:
            waits.note_branch()
            if not place.is_completed:
                await waits.block(OpenWait(place, reason=reason, key=key, seconds=timeout_s))
            return _input_of(place, key, kind)
        finally:
            track.leave(place)

    def _wait_in_thread(
        self, key: str, reason: int, timeout_s: float | None, kind: object
    ) -> object:
        track, waits, place = self._enter(key, None)
        try:
            if not place.is_completed:
                waits.block_thread(OpenWait(place, reason=reason, key=key, seconds=timeout_s))
            return _input_of(place, key, kind)
        finally:
            track.leave(place)


def is_in_loop() -> bool:
    """Return whether an event loop runs in this thread, so that a call has to be awaited."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _sleep_of(place: Place, seconds: float | None, until: datetime | None) -> OpenWait:
    until_ms = None if until is None else round(until.astimezone(UTC).timestamp() * 1000)
    return OpenWait(place, seconds=seconds, until_ms=until_ms)


def _input_of(place: Place, key: str, kind: Any) -> object:  # noqa: ANN401  # an annotation
    """Return the input that ended a wait.

    Raises:
        NoInputError: the wait ended without one.
        StepOutputError: the input does not fit.
    """
    step = place.recorded
    if step is None or not step.HasField("output"):
        raise NoInputError(key, _why_none(step))
    return load_input(step.output, key, kind)


def _why_none(step: records.Step | None) -> str:
    """Return why a wait has ended without an input."""
    resumed = "the execution was resumed without it"
    if step is None or not step.HasField("wait_until"):
        return resumed
    # The server counts the time of a wait on another clock than the one that stamps its end.
    was_early = step.HasField("ended_at") and step.ended_at + CLOCKS_MS < step.wait_until
    return resumed if was_early else "its time has passed"


def load_input(text: str, key: str, kind: Any) -> object:  # noqa: ANN401  # an annotation
    """Return an input as its type.

    Raises:
        StepOutputError: it does not fit.
    """
    try:
        return TypeAdapter[Any](kind).validate_json(text)
    except ValidationError as error:
        if (kind is Any or admits_text(kind)) and error.errors()[0]["type"] == "json_invalid":
            return text
        text = problems(error, "input")
        raise StepOutputError(f"the input {key!r} does not fit: {text}") from error
