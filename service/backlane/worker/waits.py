"""Owns the waits of an attempt, and the decision to suspend its execution.

An execution is suspended when each of its branches waits. A branch is the callable's own task, or a
task that has used the context. Then the callable's task is cancelled, so that its code unwinds as
it does for any cancellation, and the worker sends the suspension in place of a result.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.branches import all_wait
from backlane.worker.busy import Busy
from backlane.worker.reports import LoopWaiter, ThreadWaiter

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from backlane.worker.track import Place, Track

LOOK_FIRST_S: Final = 0.01
LOOK_LAST_S: Final = 0.25
"""While some branches wait and others are busy, they are looked at again and again, at growing
intervals: nothing tells when a busy task begins to wait for one that waits."""

_Task = asyncio.Task[Any]


class Attempt(Protocol):
    """The attempt that is suspended."""

    task: _Task | None

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """The log of the attempt."""

    @property
    def is_suspended(self) -> bool:
        """Whether it is being suspended."""

    def check_cancelled(self) -> None:
        """Return if the callable may continue.

        Raises:
            CancelledError: it may not.
        """

    def suspend(self) -> bool:
        """Have the callable stop for a suspension; False if it is to stop for another reason."""


class OpenWait:
    """A wait that is not over.

    Attributes:
        ends_at: when it ends by itself, on the monotonic clock; None if it does not.
    """

    __slots__ = ("_child", "_key", "_place", "_reason", "_until_ms", "ends_at")

    def __init__(
        self,
        place: Place,
        *,
        reason: int = 0,
        key: str = "",
        seconds: float | None = None,
        until_ms: int | None = None,
        child: str | None = None,
    ) -> None:
        """Describe it.

        Args:
            place: its step.
            reason: what it waits for.
            key: the key of the input that ends it; empty for none.
            seconds: after how many seconds it ends by itself.
            until_ms: when it ends by itself, in milliseconds since the epoch.
            child: the id of the child whose end ends it.
        """
        self._place = place
        self._reason = reason
        self._key = key
        self._child = child
        recorded = place.recorded
        if recorded is not None and place.is_open:
            # It goes on, with the end that it has.
            until_ms = recorded.wait_until if recorded.HasField("wait_until") else None
            seconds = None
        self._until_ms = until_ms
        if until_ms is not None:
            seconds = until_ms / 1000 - time.time()
        self.ends_at = None if seconds is None else time.monotonic() + seconds

    @property
    def left_s(self) -> float | None:
        """How many seconds are left; None if it does not end by itself."""
        return None if self.ends_at is None else max(0.0, self.ends_at - time.monotonic())

    @property
    def name(self) -> str:
        """What it waits for, in words."""
        if self._child:
            return f"the child {self._child}"
        return f"the input {self._key!r}" if self._key else f"the {self._place.name}"

    def point(self) -> api.WaitPoint:
        """Return the message of the wait as it is now."""
        name, key, _ = self._place.identity
        point = api.WaitPoint(
            step_id=self._place.step_id,
            name=name,
            step_key=key,
            reason=records.WaitReason.Name(self._reason),  # type: ignore[arg-type]
            key=self._key,
            child_execution_id=self._child,
        )
        if self._until_ms is not None:
            point.wait_until.FromMilliseconds(self._until_ms)
        elif self.left_s is not None:
            point.wait_ms = max(1, math.ceil(self.left_s * 1000))
        return point


class Waits:
    """The waits of one attempt. All but `block_thread` is for the thread of its event loop."""

    def __init__(self, attempt: Attempt, track: Track) -> None:
        """Begin without any."""
        self._attempt = attempt
        self._track = track
        self._branches: set[_Task] = set()
        # None stands for a branch that yields to a pause.
        self._waiting: dict[_Task, OpenWait | None] = {}
        self._look_s = LOOK_FIRST_S
        self._next: asyncio.Handle | None = None
        self._points: list[api.WaitPoint] = []
        self._busy = Busy()

    def note_branch(self) -> None:
        """Note that the running task is a branch of the callable."""
        task = asyncio.current_task()
        if task is not None and task is not self._attempt.task and task not in self._branches:
            self._branches.add(task)
            task.add_done_callback(self._note_end)

    async def block(self, wait: OpenWait | None, local_s: float | None = None) -> None:
        """Wait in the running task until the execution is suspended; None yields to a pause.

        Returns only after `local_s` seconds, if the other branches are busy until then.

        Raises:
            CancelledError: the execution is suspended, or has to stop.
        """
        self._attempt.check_cancelled()
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        root = self._attempt.task
        if root is not None and root.done():
            raise asyncio.CancelledError("the callable has ended")
        if task is None or root is None or root.get_loop() is not loop:
            while self._track.is_stepping:
                self._attempt.check_cancelled()
                waiter = LoopWaiter(loop)
                self._track.tell_when_quiet(waiter)
                await waiter.future
            self._suspend([wait])
            self._attempt.check_cancelled()
            return
        self._waiting[task] = wait
        try:
            # Tasks that have not begun yet have their turn first: they may become branches.
            self._look_with(loop.call_soon(self._look))
            await asyncio.wait([loop.create_future()], timeout=local_s)
        finally:
            del self._waiting[task]

    def block_thread(self, wait: OpenWait | None) -> None:
        """Suspend the execution of a plain callable.

        Raises:
            CancelledError: always.
        """
        while self._track.is_stepping:
            self._attempt.check_cancelled()
            waiter = ThreadWaiter()
            self._track.tell_when_quiet(waiter)
            waiter.wait()
        self._attempt.check_cancelled()
        self._suspend([wait])
        self._attempt.check_cancelled()

    def suspension(self) -> api.Suspension:
        """Return the message of the suspension, for which the callable was told to stop."""
        trail = self._track.trail
        return api.Suspension(
            execution_id=trail.execution_id,
            lease_token=trail.lease_token,
            waits=self._points,
            schema_version=trail.version,
        )

    def close(self) -> None:
        """Cancel the tasks that wait although the callable has ended."""
        self._look_with(None)
        for task in list(self._waiting):
            task.cancel()

    def _note_end(self, task: _Task) -> None:
        self._branches.discard(task)
        self._look()

    def _look(self) -> None:
        """Suspend the execution if all branches wait, else look again later."""
        self._look_with(None)
        root = self._attempt.task
        if not self._waiting or root is None or root.done():
            self._look_s = LOOK_FIRST_S
            self._busy.over()
            return
        try:
            self._look_at([root, *self._branches])
        except Exception as error:  # nothing would ever look again
            self._attempt.log.exception("cannot be suspended: the look at its branches failed")
            for task in dict.fromkeys([root, *self._waiting]):
                task.cancel(f"its waits cannot be looked at: {type(error).__name__}: {error}")

    def _look_at(self, branches: list[_Task]) -> None:
        is_stepping = self._track.is_stepping
        if not is_stepping and all_wait(branches, self._waiting):
            if self._suspend(self._waiting.values()):
                # Not all code passes the cancellation of a task on to those that it awaits.
                for task in dict.fromkeys([branches[0], *self._waiting]):
                    task.cancel()
            return
        if is_stepping:
            self._busy.over()
        else:
            waits = self._waiting.values()
            names = ("a pause" if wait is None else wait.name for wait in waits)
            now = time.monotonic()
            self._busy.look(now, self._attempt.log, branches, self._waiting, names)
        self._look_with(branches[0].get_loop().call_later(self._look_s, self._look))
        self._look_s = min(self._look_s * 2, LOOK_LAST_S)

    def _look_with(self, handle: asyncio.Handle | None) -> None:
        """Look next when a handle is called, and not before."""
        if self._next is not None:
            self._next.cancel()
        self._next = handle

    def _suspend(self, waits: Iterable[OpenWait | None]) -> bool:
        waits = list(waits)
        # A branch that yields to a pause goes on with the resumption, whatever the others wait for.
        points = [] if None in waits else [wait.point() for wait in waits if wait is not None]
        before, self._points = self._points, points
        if self._attempt.suspend():
            return True
        self._points = before
        return False
