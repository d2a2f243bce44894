"""Owns what a callable's context offers for children: spawning one, and waiting for its end.

A spawn is a durable step: the server records it together with the child. A parent that waits for a
child is suspended, and holds no worker meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, cast, overload

from backlane.errors import InvalidInputError, NotFinishedError, StepMismatchError
from backlane.schema.dump import dump_text
from backlane.schema.options import ABSENT, SPAWN_OPTIONS
from backlane.schema.ranges import RANGES, seconds
from backlane.schema.spawn import ChildMode
from backlane.sdk.blocking import finish
from backlane.sdk.ending import completed
from backlane.sdk.request import check_size, fill, merged
from backlane.sdk.target import load, resolve
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from backlane.worker.step_call import INPUT_BYTES_MAX, INSIDE
from backlane.worker.stepping import Stepping, is_in_loop
from backlane.worker.track import digest_of
from backlane.worker.waits import OpenWait

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from datetime import timedelta
    from typing import Unpack

    from backlane.schema.options import SpawnOptions
    from backlane.sdk.target import Takes, TakesNothing, Target
    from backlane.worker.kin import Kin, Way
    from backlane.worker.track import Place, Track

I = TypeVar("I")  # noqa: E741  # the input of a callable, as in `Client`
O = TypeVar("O")  # noqa: E741  # the output of a callable, as in `Client`
T_co = TypeVar("T_co", covariant=True)

CHILD_ENDED: Final = "ended"
"""The output of a wait that the end of a child has ended."""
_CHILD: Final = "child"
"""The name of the wait for a child. Its key is the child's id."""


class Parent(NamedTuple):
    """The lease under which children are spawned.

    Attributes:
        tenant_id: the tenant of the execution and of its children.
        execution_id: the execution.
        lease_token: the lease.
        version: the version of the callable; may be empty.
        kin: makes the calls.
    """

    tenant_id: str
    execution_id: str
    lease_token: str
    version: str
    kin: Kin


class Child(Generic[T_co]):
    """An execution that this one has spawned. Await it for its output.

    Attributes:
        execution_id: the child's id.
        callable_name: the name of its callable.
    """

    __slots__ = ("_parent", "_target", "callable_name", "execution_id")

    def __init__(
        self, parent: Spawning, execution_id: str, callable_name: str, target: Target | None
    ) -> None:
        """Point at a child; made by `Context.spawn`."""
        self._parent = parent
        self._target = target
        self.execution_id = execution_id
        self.callable_name = callable_name

    def __repr__(self) -> str:
        """Name the child."""
        return f"<Child {self.callable_name} {self.execution_id}>"

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Wait for the end and return the output; see `result`."""
        return cast("Coroutine[Any, Any, T_co]", self.result()).__await__()

    def result(self, timeout: float | timedelta | None = None) -> Any:  # noqa: ANN401  # as below
        """Wait for the end without a worker, and return the output as the callable returned it.

        In an async callable it is awaited; `await child` is the same without a timeout. In a plain
        one it blocks, or ends the callable for a suspension.

        Args:
            timeout: how long to wait, in seconds; None waits for ever.

        Raises:
            ExecutionEndedError: the child failed, was cancelled, or timed out.
            NotFinishedError: the time is over, or a client resumed the execution; a `TimeoutError`.
            ExecutionNotFoundError: retention has removed the child.
            CancelledError: the execution is suspended; do not catch it.
        """
        if timeout is not None:
            RANGES["sleep"].check("timeout", timeout)
        timeout_s = None if timeout is None else seconds(timeout)
        return self._parent.await_child(self.execution_id, self._target, timeout_s)


class Spawning(Stepping):
    """The children of an attempt."""

    __slots__ = ()

    def _as_parent(self) -> Parent:
        """Return the lease under which children are spawned."""
        raise NotImplementedError

    @overload
    def spawn(
        self,
        called: Takes[I, O],
        given: I,
        /,
        *,
        key: str | None = None,
        name: str | None = None,
        child_mode: ChildMode | None = None,
        **options: Unpack[SpawnOptions],
    ) -> Coroutine[Any, Any, Child[O]]: ...
    @overload
    def spawn(
        self,
        called: TakesNothing[O],
        /,
        *,
        key: str | None = None,
        name: str | None = None,
        child_mode: ChildMode | None = None,
        **options: Unpack[SpawnOptions],
    ) -> Coroutine[Any, Any, Child[O]]: ...
    @overload
    def spawn(
        self,
        called: str,
        given: object = ABSENT,
        /,
        *,
        key: str | None = None,
        name: str | None = None,
        child_mode: ChildMode | None = None,
        **options: Unpack[SpawnOptions],
    ) -> Coroutine[Any, Any, Child[Any]]: ...
    def spawn(  # one for each part of a step and of a child
        self,
        called: object,
        given: object = ABSENT,
        /,
        *,
        key: str | None = None,
        name: str | None = None,
        child_mode: ChildMode | None = None,
        **options: Unpack[SpawnOptions],
    ) -> Any:
        """Spawn a child: an execution of its own, in the same tenant.

        The spawn is a durable step. When it returns, the child is on the server's disk, and in all
        later attempts the step returns the same child. Await the child for its output:

            children = [await ctx.spawn(summarise, page, key=page.id) for page in pages]
            summaries = await asyncio.gather(*children)

        When this execution fails, is cancelled or times out, its unfinished children are cancelled
        too, unless it was enqueued with another `cancellation_policy`.

        A plain callable gets the child itself and does not await it.

        Args:
            called: the callable's name, or the decorated function, which brings its types and its
                defaults.
            given: its input, as in `Client.enqueue`.
            key: tells spawns of one name apart that run at once.
            name: the step's name; the callable's by default.
            child_mode: what the child's worker is told of the spawn.
            options: see `SpawnOptions`.

        Raises:
            InvalidInputError: the input or the options cannot be sent.
            StepError: the step and what is recorded do not fit.
            BacklaneError: the server refused the child, such as after a request to cancel this
                execution.
        """
        self._check_going_on()
        callable_name, target = resolve(called, given)
        request = self._request(callable_name, target, given, options, child_mode or ChildMode())
        in_loop = is_in_loop()
        spawned = self._spawn(request, name or callable_name, key or "", target, in_loop=in_loop)
        return spawned if in_loop else finish(spawned)

    def await_child(
        self, execution_id: str, target: Target | None, timeout_s: float | None
    ) -> object:
        """Wait for the end of a child; see `Child.result`."""
        in_loop = is_in_loop()
        awaited = self._await_child(execution_id, target, timeout_s, in_loop=in_loop)
        return awaited if in_loop else finish(awaited)

    def _request(
        self,
        callable_name: str,
        target: Target | None,
        given: object,
        options: SpawnOptions,
        mode: ChildMode,
    ) -> api.SpawnRequest:
        if unknown := next((name for name in options if name not in SPAWN_OPTIONS), None):
            raise InvalidInputError(
                f"{unknown} is no option of a spawn; there are {', '.join(SPAWN_OPTIONS)}"
            )
        parent = self._as_parent()
        request = api.SpawnRequest(
            parent_execution_id=parent.execution_id,
            lease_token=parent.lease_token,
            schema_version=parent.version,
        )
        defaults = {} if target is None else target.defaults
        fill(request.enqueue, parent.tenant_id, callable_name, given, merged(defaults, options))
        check_size(request.enqueue)
        mode.fill(request.mode)
        return request

    async def _spawn(
        self,
        request: api.SpawnRequest,
        name: str,
        key: str,
        target: Target | None,
        *,
        in_loop: bool,
    ) -> Child[Any]:
        track, waits = self._open_track()
        if in_loop:
            waits.note_branch()
        wanted, outer = request.enqueue, INSIDE.get()
        text = wanted.input if wanted.HasField("input") else None
        digest = digest_of(dump_text([wanted.callable_name, text]))
        kind = records.STEP_TYPE_FUNCTION
        place = track.enter(name, key, kind, digest, outer)
        try:
            if place.is_completed:
                return Child(self, _spawned_by(place), wanted.callable_name, target)
            if self._is_pausing() and outer is None:
                if in_loop:
                    await waits.block(None)
                waits.block_thread(None)
            track.occupy(place)
            # The spawn goes another way than the reports: it must not be recorded before the
            # beginning of the step around it, or before the end of the one before it.
            if in_loop:
                await track.flush()
            else:
                track.flush_in_thread()
            step = request.step
            step.CopyFrom(_step_of(place, wanted.callable_name, text, digest))
            if outer is not None:
                step.parent_step_id = outer.step_id
            parent = self._as_parent()
            # The step is recorded with the child. A repetition of the call finds both.
            wanted.request_id = f"{parent.execution_id}/{place.step_id}"
            record = await parent.kin.spawn(request, self._way(in_loop), self._check_going_on)
            return Child(self, record.execution_id, wanted.callable_name, target)
        finally:
            track.leave(place)

    async def _await_child(
        self, execution_id: str, target: Target | None, timeout_s: float | None, *, in_loop: bool
    ) -> Any:  # noqa: ANN401  # the callable's own
        parent, way = self._as_parent(), self._way(in_loop)
        while True:
            track, waits, place = self._enter(_CHILD, execution_id)
            try:
                if in_loop:
                    waits.note_branch()
                if place.is_completed and not _has_ended(place):
                    # Its time has passed, or a client resumed the execution: that was no end.
                    if timeout_s is not None:
                        raise NotFinishedError(execution_id, "unfinished", timeout_s)
                    continue
                record = await parent.kin.get(
                    parent.tenant_id, execution_id, way, self._check_going_on
                )
                if record.is_finished:
                    await self._note_end(track, place, in_loop=in_loop)
                    return load(target, completed(record).output)
                wait = OpenWait(
                    place,
                    reason=records.WAIT_REASON_SUB_AGENT,
                    seconds=timeout_s,
                    child=execution_id,
                )
                if in_loop:
                    await waits.block(wait)
                else:
                    waits.block_thread(wait)
            finally:
                track.leave(place)

    async def _note_end(self, track: Track, place: Place, *, in_loop: bool) -> None:
        """End a wait that began in an earlier lease, and that another wait's end has outrun."""
        if not place.is_open:
            return
        track.occupy(place)
        if in_loop:
            await track.complete(place, CHILD_ENDED)
        else:
            track.complete_in_thread(place, CHILD_ENDED)

    def _way(self, in_loop: bool) -> Way:  # noqa: FBT001  # as is_in_loop() tells
        kin = self._as_parent().kin
        return kin.in_loop() if in_loop else kin.in_thread(self._pass_time)


def _step_of(place: Place, callable_name: str, text: str | None, digest: bytes) -> work.NewStep:
    name, key, _ = place.identity
    is_short = text is not None and len(text) <= INPUT_BYTES_MAX
    source = records.StepSource(source_type=records.STEP_SOURCE_TYPE_SPAWNED, spawn_mode="child")
    if place.recorded is not None:
        # It stands in the place of a step that did not complete.
        source.source_type = records.STEP_SOURCE_TYPE_RETRY
        source.triggered_by = place.recorded.id
    return work.NewStep(
        step_id=place.step_id,
        step_type=records.STEP_TYPE_FUNCTION,
        name=name,
        key=key,
        arguments_hash=digest,
        input=text if is_short else None,
        source=source,
        callable_id=callable_name,
    )


def _spawned_by(place: Place) -> str:
    """Return the child of a step that an earlier attempt has taken.

    Raises:
        StepMismatchError: the step has spawned none.
    """
    step = place.recorded
    if step is None or not step.HasField("child_execution_id"):
        raise StepMismatchError(
            f"{place.name} spawned no child in the earlier attempt: take the same steps in each "
            "attempt, or change version="
        )
    return step.child_execution_id


def _has_ended(place: Place) -> bool:
    """Whether the end of the child has ended a wait."""
    return place.recorded is not None and place.recorded.HasField("output")
