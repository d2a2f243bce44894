"""Owns handles: an execution that was enqueued, and the way to its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

from backlane.client.base import completed
from backlane.client.target import load
from backlane.client.times import Slices

if TYPE_CHECKING:
    from datetime import timedelta

    from backlane.client.aio_follow import AsyncFollower
    from backlane.client.follow import Follower
    from backlane.client.target import Target
    from backlane.schema.records import BackgroundExecution

T_co = TypeVar("T_co", covariant=True)


class Handle(Generic[T_co]):
    """An execution, through the client that enqueued it.

    Attributes:
        execution_id: which one it is.
        existing: whether a request_id or dedup_key led to one that was there before.
    """

    __slots__ = ("_client", "_target", "execution_id", "existing")

    def __init__(
        self, client: Follower, execution_id: str, target: Target | None, *, existing: bool = False
    ) -> None:
        """Point at an execution; made by the client."""
        self._client = client
        self._target = target
        self.execution_id = execution_id
        self.existing = existing

    def __repr__(self) -> str:
        """Name the execution."""
        return f"<Handle {self.execution_id}>"

    def result(self, timeout: float | timedelta | None = None) -> T_co:
        """Wait for the end, and return the output as the callable returned it.

        Args:
            timeout: how long to wait, in seconds; None waits for ever.

        Raises:
            ExecutionEndedError: it failed, was cancelled, or timed out.
            NotFinishedError: the time is over; a `TimeoutError`.
            BacklaneError: the server cannot be asked.
        """
        execution = completed(self.wait(timeout))
        return cast("T_co", load(self._target, execution.output))

    def wait(self, timeout: float | timedelta | None = None) -> BackgroundExecution:
        """Wait for the end, however it comes, and return the record.

        Args:
            timeout: as `result` has it.

        Raises:
            NotFinishedError: the time is over.
            BacklaneError: the server cannot be asked.
        """
        slices = Slices(timeout)
        return self._client._finished(self.execution_id, slices)  # noqa: SLF001  # its own client

    def get(self) -> BackgroundExecution:
        """Read the record as it is now."""
        return self._client.get(self.execution_id)

    def cancel(self) -> BackgroundExecution:
        """End it while it is queued, or ask its holder to stop."""
        return self._client.cancel(self.execution_id)


class AsyncHandle(Generic[T_co]):
    """An execution, through the client that enqueued it.

    Attributes:
        execution_id: which one it is.
        existing: whether a request_id or dedup_key led to one that was there before.
    """

    __slots__ = ("_client", "_target", "execution_id", "existing")

    def __init__(
        self,
        client: AsyncFollower,
        execution_id: str,
        target: Target | None,
        *,
        existing: bool = False,
    ) -> None:
        """Point at an execution; made by the client."""
        self._client = client
        self._target = target
        self.execution_id = execution_id
        self.existing = existing

    def __repr__(self) -> str:
        """Name the execution."""
        return f"<AsyncHandle {self.execution_id}>"

    async def result(self, timeout: float | timedelta | None = None) -> T_co:
        """Wait for the end, and return the output; see `Handle.result`."""
        execution = completed(await self.wait(timeout))
        return cast("T_co", load(self._target, execution.output))

    async def wait(
        self,
        timeout: float | timedelta | None = None,
    ) -> BackgroundExecution:
        """Wait for the end, however it comes, and return the record; see `Handle.wait`."""
        slices = Slices(timeout)
        return await self._client._finished(self.execution_id, slices)  # noqa: SLF001  # as above

    async def get(self) -> BackgroundExecution:
        """Read the record as it is now."""
        return await self._client.get(self.execution_id)

    async def cancel(self) -> BackgroundExecution:
        """End it while it is queued, or ask its holder to stop."""
        return await self._client.cancel(self.execution_id)
