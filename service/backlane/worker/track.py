"""Owns the track of an attempt: what is recorded of its steps, and what it reports of them.

A step is known by its name, its key, the step inside of which it is taken, and how many steps with
all of these came before it in the attempt. A step that an earlier attempt completed is found again
by that, and its arguments are compared. A step that did not complete is done again, as a new step
that names the old one.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from backlane.errors import (
    BacklaneError,
    OutOfRangeError,
    ResourceExhaustedError,
    StepMismatchError,
    StepRefusedError,
    StepsAtOnceError,
)
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.report import step_error
from backlane.worker.reports import Entry, LoopWaiter, ThreadWaiter, Trail, wake

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backlane.worker.reports import Waiter

NAME_BYTES_MAX: Final = 128
"""The most bytes of a step's name, and of its key."""
DIGEST_BYTES: Final = 16
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_DIGITS: Final = 27
_EPOCH_S: Final = 1_400_000_000
"""Where the seconds of an id begin, in seconds since the epoch."""
_END_DIGITS: Final = 2
_ENDS: Final = tuple(map("".join, itertools.product(_DIGITS, repeat=_END_DIGITS)))
"""How the ids of a block end."""
_COUNT: Final = itertools.count()


class Identity(NamedTuple):
    """What steps have in common that only their number tells apart.

    Attributes:
        name: the name of the steps.
        key: their key; may be empty.
        outer: the step inside of which they are taken; None outside of steps.
    """

    name: str
    key: str
    outer: Spot | None


class Spot(NamedTuple):
    """Where a step stands in every attempt.

    Attributes:
        identity: what it has in common with others.
        number: how many of these came before it.
    """

    identity: Identity
    number: int


class Channel(Protocol):
    """What takes reports; a worker's book does."""

    def report(self, trail: Trail, entries: Iterable[Entry], *, is_urgent: bool) -> None:
        """Report what happened to steps of a lease."""

    def flush(self, trail: Trail, waiter: Waiter) -> None:
        """End a wait once all that a lease has reported so far is recorded."""

    def advance(self, report: api.ProgressReport) -> None:
        """Report how far the execution has come."""


class Place(NamedTuple):
    """A step that is to be taken.

    Attributes:
        spot: where it stands.
        step_id: its id.
        recorded: the step as an earlier attempt recorded it; None if it is new.
    """

    spot: Spot
    step_id: str
    recorded: records.Step | None

    @property
    def identity(self) -> Identity:
        """Its name, its key, and the step around it."""
        return self.spot.identity

    @property
    def is_completed(self) -> bool:
        """Whether an earlier attempt has completed the step."""
        return self.recorded is not None and self.recorded.state == records.STEP_STATE_COMPLETED

    @property
    def is_open(self) -> bool:
        """Whether the step is a wait that an earlier lease began, and that is not over."""
        return self.recorded is not None and self.recorded.state == records.STEP_STATE_RUNNING

    @property
    def name(self) -> str:
        """The step in words, for messages."""
        name, key, _ = self.identity
        return f"step {name!r}, key {key!r}" if key else f"step {name!r}"


class Track:
    """The steps of one attempt. Thread-safe."""

    def __init__(self, lease: api.Lease, version: str, channel: Channel) -> None:
        """Begin with what earlier attempts recorded.

        Args:
            lease: the lease of the attempt.
            version: the version of the callable; may be empty.
            channel: takes the reports.
        """
        self.trail = Trail(lease.execution.execution_id, lease.lease_token, version)
        self._channel = channel
        self._recorded = _in_places(lease.steps)
        self._counts: dict[Identity, int] = {}
        self._active: set[Identity] = set()
        self._running: set[str] = set()
        self._blocked: set[ThreadWaiter] = set()
        # Who waits until no step runs, and whether the attempt has to stop.
        self._quiet: list[Waiter] = []
        self._stops = False
        self._lock = threading.Lock()

    @property
    def is_stepping(self) -> bool:
        """Whether a step runs, or its end is not recorded yet."""
        return bool(self._running)

    def enter(
        self, name: str, key: str, step_type: int, digest: bytes, outer: Place | None = None
    ) -> Place:
        """Begin to take the next step of a name and a key; `leave` ends it.

        Args:
            name: the step's name.
            key: its key; may be empty.
            step_type: its type, which a recorded step must have too.
            digest: the hash of its arguments; empty if it has none.
            outer: the step inside of which it is taken; None outside of steps.

        Raises:
            StepsAtOnceError: another one of that name and key is taken at the same time.
            StepMismatchError: another step is recorded in its place.
            StepRefusedError: the server has refused an earlier report.
        """
        if self.trail.fault is not None:
            raise refused("a step could not be recorded", self.trail.fault) from self.trail.fault
        name = checked("the name of a step", name)
        key = checked("the key of a step", key) if key else ""
        identity = Identity(name, key, None if outer is None else outer.spot)
        with self._lock:
            if identity in self._active:
                raise StepsAtOnceError(
                    f"two steps {name!r} run at once{' with one key' if key else ''}: give each of "
                    "them another key="
                )
            count = self._counts.get(identity, 0)
            recorded = next(iter(self._recorded.get(identity, ())[count : count + 1]), None)
            if recorded is not None:
                _compare(recorded, step_type, digest)
            self._counts[identity] = count + 1
            self._active.add(identity)
            is_open = recorded is not None and recorded.state == records.STEP_STATE_RUNNING
            step_id = recorded.id if recorded is not None and is_open else _new_id()
        return Place(Spot(identity, count), step_id, recorded)

    def leave(self, place: Place) -> None:
        """End what `enter` began."""
        with self._lock:
            self._active.discard(place.identity)
            self._running.discard(place.step_id)
            told = self._take_quiet()
        if told:
            wake((waiter, None) for waiter in told)

    def tell_when_quiet(self, waiter: Waiter) -> None:
        """End a wait once no step runs, or the attempt has to stop."""
        with self._lock:
            self._quiet.append(waiter)
            told = self._take_quiet()
        wake((waiter, None) for waiter in told)

    def note_stop(self) -> None:
        """Note that the attempt has to stop."""
        with self._lock:
            self._stops = True
            told = self._take_quiet()
        wake((waiter, None) for waiter in told)

    def _take_quiet(self) -> list[Waiter]:
        """Return those whose wait until no step runs is over."""
        if self._running and not self._stops:
            return []
        told, self._quiet = self._quiet, []
        return told

    def occupy(self, place: Place) -> None:
        """Note that a step runs which a call of its own records. `leave` ends it."""
        self._running.add(place.step_id)

    def start(self, place: Place, step: api.NewStep) -> None:
        """Report that a step runs, with what comes soon. Its id and its place are filled in.

        Of a wait that an earlier lease began, nothing is reported.
        """
        self._running.add(place.step_id)
        if place.is_open:
            # An earlier suspension has recorded its beginning: only its end is left to report.
            return
        step.step_id = place.step_id
        step.name, step.key, _ = place.identity
        if place.recorded is not None and step.step_type != records.STEP_TYPE_WAIT:
            step.source.source_type = records.STEP_SOURCE_TYPE_RETRY
            step.source.triggered_by = place.recorded.id
        self._report(Entry(place.step_id, api.StepAction(started=step)), is_urgent=False)

    async def complete(self, place: Place, output: str | None) -> None:
        """Report that a step has completed, and wait in a task until that is recorded.

        Raises:
            StepRefusedError: the server did not record it.
        """
        waiter = LoopWaiter(asyncio.get_running_loop())
        self._complete(place, output, waiter)
        try:
            await waiter.future
        except BacklaneError as refusal:
            raise self._refused(place, refusal) from refusal

    def complete_in_thread(self, place: Place, output: str | None) -> None:
        """Report that a step has completed, and block until that is recorded.

        Raises:
            CancelledError: the attempt has to stop.
            StepRefusedError: the server did not record it.
        """
        waiter = ThreadWaiter()
        with self._lock:
            self._blocked.add(waiter)
        self._complete(place, output, waiter)
        try:
            waiter.wait()
        except BacklaneError as refusal:
            raise self._refused(place, refusal) from refusal
        finally:
            with self._lock:
                self._blocked.discard(waiter)

    async def flush(self) -> None:
        """Wait in a task until all that was reported so far is recorded.

        Raises:
            StepRefusedError: the server did not record it.
        """
        waiter = LoopWaiter(asyncio.get_running_loop())
        self._channel.flush(self.trail, waiter)
        try:
            await waiter.future
        except BacklaneError as refusal:
            raise self._not_flushed(refusal) from refusal

    def flush_in_thread(self) -> None:
        """Block until all that was reported so far is recorded.

        Raises:
            CancelledError: the attempt has to stop.
            StepRefusedError: the server did not record it.
        """
        waiter = ThreadWaiter()
        with self._lock:
            self._blocked.add(waiter)
        self._channel.flush(self.trail, waiter)
        try:
            waiter.wait()
        except BacklaneError as refusal:
            raise self._not_flushed(refusal) from refusal
        finally:
            with self._lock:
                self._blocked.discard(waiter)

    def _not_flushed(self, refusal: BacklaneError) -> StepRefusedError:
        self.trail.fault = self.trail.fault or refusal
        return refused("a step could not be recorded", refusal)

    def fail(self, place: Place, error: records.ExecutionError) -> None:
        """Report that a step has failed, with what comes soon."""
        failed = api.StepFailed(step_id=place.step_id, error=error)
        self._report(Entry(place.step_id, api.StepAction(failed=failed)), is_urgent=False)

    def interrupt(self, error: BaseException) -> None:
        """End the waits of threads, because the attempt has to stop."""
        with self._lock:
            blocked = list(self._blocked)
        for waiter in blocked:
            waiter.end(error)

    def _complete(self, place: Place, output: str | None, waiter: Waiter) -> None:
        completed = api.StepCompleted(step_id=place.step_id, output=output)
        action = api.StepAction(completed=completed)
        self._report(Entry(place.step_id, action, waiter), is_urgent=True)

    def _refused(self, place: Place, refusal: BacklaneError) -> StepRefusedError:
        """Return the error for a step whose completion the server did not record."""
        # Where the beginning was refused, the end names no step: the first refusal tells why.
        error = refused(f"{place.name} could not be recorded", self.trail.fault or refusal)
        if place.step_id in self.trail.recorded:
            # The server counts it as running, and would suspend nothing meanwhile.
            self.fail(place, step_error(error))
        return error

    def _report(self, entry: Entry, *, is_urgent: bool) -> None:
        self._channel.report(self.trail, [entry], is_urgent=is_urgent)


def digest_of(text: str) -> bytes:
    """Return the hash of a step's arguments, given as canonical JSON.

    Workers in other languages make the same one, so that they can go on with each other's steps.
    """
    return hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]


def refused(what: str, refusal: BacklaneError) -> StepRefusedError:
    """Return the error for what the server refused to record."""
    error = StepRefusedError(f"{what}: {refusal.message}")
    if isinstance(refusal, OutOfRangeError | ResourceExhaustedError):
        error.category = "quota_exceeded"
    return error


def _in_places(steps: Iterable[records.Step]) -> dict[Identity, list[records.Step]]:
    """Return the recorded steps by name and key, each in its place: the newest of its runs."""
    places: dict[Identity, list[records.Step]] = {}
    spots: dict[str, Spot] = {}
    for step in steps:
        # A step that is taken again is in the place of its first run, so that the steps inside of
        # the one are found inside of the other.
        identity = Identity(step.name, step.key, spots.get(step.parent_step_id))
        known = places.setdefault(identity, [])
        number = _number_of_earlier_run(step, identity, known, spots)
        if number is None:
            number = len(known)
            known.append(step)
        else:
            known[number] = step
        spots[step.id] = Spot(identity, number)
    return places


def _number_of_earlier_run(
    step: records.Step,
    identity: Identity,
    known: list[records.Step],
    spots: Mapping[str, Spot],
) -> int | None:
    """Return the number of the step that a step is another run of; None if it is the first."""
    if step.step_type == records.STEP_TYPE_WAIT:
        # A wait fails only with its attempt, and names none: it is always done again.
        failed = (index for index, one in enumerate(known) if _has_failed(one))
        return next(failed, None)
    if step.source.source_type == records.STEP_SOURCE_TYPE_RETRY:
        earlier = spots.get(step.source.triggered_by)
        return earlier.number if earlier is not None and earlier.identity == identity else None
    return None


def _has_failed(step: records.Step) -> bool:
    return step.state == records.STEP_STATE_FAILED


def _compare(recorded: records.Step, step_type: int, digest: bytes) -> None:
    """Refuse a step in whose place another one is recorded."""
    if _has_failed(recorded):
        return
    what = f"step {recorded.name!r}"
    is_wait = recorded.step_type == records.STEP_TYPE_WAIT
    if is_wait != (step_type == records.STEP_TYPE_WAIT):
        kinds = ("a wait", "no wait") if is_wait else ("no wait", "a wait")
        raise StepMismatchError(
            f"{what} was {kinds[0]} in an earlier attempt and is {kinds[1]} now"
        )
    if recorded.arguments_hash and recorded.arguments_hash != digest:
        raise StepMismatchError(
            f"{what} was called with other arguments in an earlier attempt: a callable has to take "
            "the same steps in each attempt, so keep what changes, such as times and random "
            "numbers, inside of steps; or change version="
        )


def checked(what: str, text: str) -> str:
    """Return a name or a key, if it is text of a length that the server takes."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be text, not {text!r}")
    if not 1 <= len(text.encode("utf-8", "replace")) <= NAME_BYTES_MAX:
        raise ValueError(f"{what} must have 1 to {NAME_BYTES_MAX} bytes: {text!r}")
    return text


def _new_id() -> str:
    """Return an id that no other step has: that of its block, and its place there."""
    block, place = divmod(next(_COUNT), len(_ENDS))
    return _front(block) + _ENDS[place]


@functools.lru_cache(maxsize=4)
def _front(_block: int) -> str:
    """Return what the ids of a block begin with, made once for many steps."""
    number = (int(time.time()) - _EPOCH_S) << 128 | secrets.randbits(128)
    digits = []
    for _ in range(_ID_DIGITS):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "step_" + "".join(reversed(digits))[:-_END_DIGITS]


# A child process would go on with the ids of its parent.
os.register_at_fork(after_in_child=_front.cache_clear)
