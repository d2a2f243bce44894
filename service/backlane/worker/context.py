"""Owns the context of a callable: facts about its execution, and the request to stop.

Its steps and waits are `Stepping`'s, and its children `Spawning`'s. They are made when they are
first used, so that an execution without steps pays nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from backlane.schema.values import from_value
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.spawning import Parent, Spawning
from backlane.worker.track import Track
from backlane.worker.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from backlane.schema.runs import StepRecord
    from backlane.schema.values import Json
    from backlane.worker.kin import Kin
    from backlane.worker.track import Channel

StopReason = Literal["requested", "lost", "timeout", "drain", "suspended"]
"""Why a callable should stop: a client cancelled the execution, the lease was lost, the attempt
timed out, the worker is stopping, or the execution waits without a worker."""

PROGRESS_BYTES_MAX: Final = 1024
"""The longest message of a progress, in bytes of UTF-8."""
_POLITE: Final = {"requested", "suspended"}
"""The reasons for which a thread that reports a step still waits for the answer."""
_STOPPING: Final = threading.Lock()
"""Held while a context is stopped or its event is made, so that all threads get the same event.
One lock serves all contexts, since few events are ever made."""
_LOG = logging.getLogger("backlane.callable")


class Context(Spawning):
    """One attempt of an execution, for its callable: the first parameter, named `ctx`.

    An async callable that should stop gets `CancelledError` where it awaits. A plain one has to
    check `cancelled`, or call `check_cancelled`.
    """

    __slots__ = (
        *("_channel", "_deadline", "_event", "_has_ended", "_kin", "_lease", "_pause_requested"),
        *("_stop_reason", "_track", "_version", "_waits", "task", "worker_id"),
    )

    def __init__(
        self,
        lease: api.Lease,
        worker_id: str,
        remaining_s: float,
        channel: Channel,
        version: str = "",
        kin: Kin | None = None,
    ) -> None:
        """Describe an attempt.

        Args:
            lease: the lease of the attempt.
            worker_id: the worker's id.
            remaining_s: how long the attempt may still run, in seconds.
            channel: takes the reports of its steps and of its progress.
            version: the version of its callable; may be empty.
            kin: makes the calls about its children.
        """
        self._lease = lease
        self._channel = channel
        self._version = version
        self._kin = kin
        self._track: Track | None = None
        self._waits: Waits | None = None
        self._pause_requested = lease.pause_requested
        # The task of an async callable, which a suspension cancels. The worker sets it.
        self.task: asyncio.Task[Any] | None = None
        self._deadline = time.monotonic() + remaining_s
        self._event: threading.Event | None = None
        self._stop_reason: StopReason | None = None
        self._has_ended = False
        self.worker_id = worker_id

    def __repr__(self) -> str:
        """Name the execution and the attempt."""
        return f"<Context {self.callable_name} {self.execution_id} attempt {self.attempt}>"

    @property
    def execution_id(self) -> str:
        """The execution's id. Together with `attempt` it is unique for each attempt."""
        return self._lease.execution.execution_id

    @property
    def tenant_id(self) -> str:
        """The tenant of the execution."""
        return self._lease.execution.tenant_id

    @property
    def callable_name(self) -> str:
        """The name with which the execution was enqueued."""
        return self._lease.execution.callable_name

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._lease.attempt

    @property
    def remaining(self) -> float:
        """Seconds until the attempt times out, by this machine's monotonic clock; at least 0."""
        return max(0.0, self._deadline - time.monotonic())

    @property
    def deadline(self) -> datetime:
        """The instant at which the attempt times out, in UTC, by this machine's clock."""
        return datetime.now(UTC) + timedelta(seconds=self._deadline - time.monotonic())

    @property
    def input(self) -> str | None:
        """The input as it was sent; None if there is none."""
        execution = self._lease.execution
        return execution.input if execution.HasField("input") else None

    @property
    def context(self) -> Mapping[str, str]:
        """The texts that were given with the enqueue."""
        return dict(self._lease.execution.context)

    @property
    def metadata(self) -> Mapping[str, Json]:
        """The JSON values that were given with the enqueue."""
        return {name: from_value(part) for name, part in self._lease.execution.metadata.items()}

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context that was given with the enqueue; None if there is none."""
        return self._lease.execution.traceparent or None

    @property
    def cancelled(self) -> threading.Event:
        """An event that is set when the callable should stop; threads can wait for it."""
        with _STOPPING:
            if self._event is None:
                self._event = threading.Event()
                if self._stop_reason is not None:
                    self._event.set()
            return self._event

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the callable should stop; None if it need not."""
        return self._stop_reason

    def check_cancelled(self) -> None:
        """Return if the callable may continue.

        Raises:
            asyncio.CancelledError: the callable should stop; do not catch it.
        """
        if self._stop_reason is not None:
            raise asyncio.CancelledError(self._stop_reason)

    def check_running(self) -> None:
        """Return if the attempt has not ended. A client's waits call this.

        Raises:
            asyncio.CancelledError: the attempt has timed out or lost its lease; do not catch it.
        """
        if self._has_ended:
            raise asyncio.CancelledError(self._stop_reason)

    def progress(self, fraction: float | None = None, message: str = "") -> None:
        """Report how far the execution has come; its record shows it while the attempt runs.

        The call only notes it. About ten times a second the newest progress is sent, and what it
        replaces is dropped. It may be called from any thread, as often as is convenient.

        Args:
            fraction: the share of the work that is done, 0 to 1.
            message: a text for people, at most 1 KiB.

        Raises:
            ValueError: neither is given, or one of them does not fit.
        """
        if fraction is None and not message:
            raise ValueError("progress needs a fraction or a message")
        if fraction is not None and not (math.isfinite(fraction) and 0 <= fraction <= 1):
            raise ValueError(f"fraction must be 0 to 1, not {fraction}")
        size = len(message.encode())
        if size > PROGRESS_BYTES_MAX:
            raise ValueError(f"message has {size} bytes, at most {PROGRESS_BYTES_MAX} are possible")
        report = api.ProgressReport(
            execution_id=self.execution_id,
            lease_token=self._lease.lease_token,
            fraction=fraction,
            message=message,
        )
        if not self._has_ended:
            self._channel.advance(report)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines begin with the execution, and have its ids as attributes."""
        names = {
            "execution_id": self.execution_id,
            "tenant_id": self.tenant_id,
            "callable_name": self.callable_name,
            "attempt": self.attempt,
        }
        return _BoundLog(_LOG, names)

    def end(self) -> None:
        """Note that the attempt has ended. The worker calls this before it stops the callable."""
        self._has_ended = True

    def stop(self, reason: StopReason) -> None:
        """Tell the callable to stop. The worker calls this from any thread.

        Args:
            reason: why; a later reason does not replace it.
        """
        with _STOPPING:
            if self._stop_reason is None:
                self._stop_reason = reason
            if self._event is not None:
                self._event.set()
        if self._track is not None:
            self._track.note_stop()
            if reason not in _POLITE:
                self._track.interrupt(asyncio.CancelledError(reason))

    @property
    def pause_requested(self) -> bool:
        """Whether a client has paused the execution. It yields at its next step."""
        return self._pause_requested

    def pause(self) -> None:
        """Note that a client has paused the execution. The worker calls this."""
        self._pause_requested = True

    @property
    def is_suspended(self) -> bool:
        """Whether the callable was told to stop because the execution waits without a worker."""
        return self._stop_reason == "suspended"

    def suspend(self) -> bool:
        """Tell the callable to stop for a suspension; False if it is to stop for another reason."""
        self.stop("suspended")
        return self.is_suspended

    def suspension(self) -> api.Suspension:
        """Return the message of the suspension; without waits, it yields to a pause."""
        _, waits = self._open_track()
        return waits.suspension()

    @property
    def has_waits(self) -> bool:
        """Whether the callable has used steps or waits."""
        return self._waits is not None

    def close(self) -> None:
        """Note that the callable has ended. The worker calls this on the thread of its loop."""
        if self._waits is not None:
            self._waits.close()

    @property
    def steps(self) -> Sequence[StepRecord]:
        """The steps that earlier attempts recorded, in order."""
        # The records and their JSON take a while to import, and few callables look at them.
        from backlane.schema.runs import StepRecord  # noqa: PLC0415

        return [StepRecord(step) for step in self._lease.steps]

    def _open_track(self) -> tuple[Track, Waits]:
        with _STOPPING:
            if self._track is None or self._waits is None:
                self._track = Track(self._lease, self._version, self._channel)
                self._waits = Waits(self, self._track)
        return self._track, self._waits

    def _as_parent(self) -> Parent:
        if self._kin is None:
            raise RuntimeError("this context has no connection over which it could spawn")
        token = self._lease.lease_token
        return Parent(self.tenant_id, self.execution_id, token, self._version, self._kin)

    def _check_going_on(self) -> None:
        if self._stop_reason is not None and self._stop_reason != "requested":
            raise asyncio.CancelledError(self._stop_reason)

    def _pass_time(self, seconds: float) -> None:
        if self.cancelled.wait(seconds):
            self.check_cancelled()


class _BoundLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the execution in front of each line, and keeps the caller's own `extra`."""

    def process(
        self,
        msg: Any,  # noqa: ANN401  # as logging has it
        kwargs: MutableMapping[str, Any],
    ) -> tuple[Any, MutableMapping[str, Any]]:
        names = dict(self.extra or {})
        kwargs["extra"] = {**names, **(kwargs.get("extra") or {})}
        return f"{names['callable_name']} {names['execution_id']}: {msg}", kwargs
