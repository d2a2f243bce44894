"""Owns single calls: a call is repeated while the server is away, until its time is over.

`Caller.call` is the one retry loop. Its two kinds say how an attempt is made, how a pause is
spent, and how to tell a missing server from one that does not answer.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import grpc

from backlane import errors
from backlane.client.patience import Patience, explained, nobody_at
from backlane.client.requests import duration

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from backlane.channel import Endpoint
    from backlane.client.times import Slices

Request = TypeVar("Request")
Answer = TypeVar("Answer")

PROBE_S: Final = 0.05
"""How long a connected channel may take to report that it is connected, in seconds."""


class Caller(ABC):
    """Makes the single calls of a client until it is closed."""

    def __init__(self, endpoint: Endpoint, *, waits: bool) -> None:
        """Make calls to an endpoint.

        Args:
            endpoint: the server, and the headers of each call.
            waits: whether to repeat a call while the server is away.
        """
        self._endpoint = endpoint
        self._waits = waits
        self._is_closed = False

    def close(self) -> None:
        """Refuse further calls; the channel is about to be closed."""
        self._is_closed = True

    def is_closed(self) -> bool:
        """Tell whether `close` was called; another thread or task may do so at any time."""
        return self._is_closed

    async def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        timeout_s: float,
        slices: Slices | None = None,
    ) -> Answer:
        """Make a call and return its answer.

        Args:
            method: the stub's method.
            request: its request; a wait's `timeout` field is set before each attempt.
            timeout_s: how long all attempts together may take, in seconds.
            slices: for a call that waits on the server: each attempt asks for what is left.

        Raises:
            BacklaneError: the server refused the call, cannot be reached, or did not answer.
        """
        patience = Patience(patience_s(timeout_s, slices), waits=self._waits)
        is_doubtful = False
        while not self.is_closed():
            try:
                ask_to_wait(request, slices)
                return await self._attempt(method, request, patience.left_s)
            except grpc.RpcError as broken:
                error = errors.from_rpc_error(broken)
                if isinstance(error, errors.CallTimeoutError):
                    raise self.late(timeout_s) from broken
                pause_s = patience.pause_s(error)
                if pause_s is None:
                    raise final(error, self._endpoint.target, is_doubtful=is_doubtful) from broken
                is_doubtful = is_doubtful or error.maybe_applied
            await self._pause(pause_s)
        raise closed()

    def late(self, timeout_s: float) -> errors.BacklaneError:
        """Return the error of a call that had no answer in time.

        Without `waits` a missing server would have been reported at once.
        """
        if not self._waits or self._is_connected():
            return silent(self._endpoint.target, timeout_s)
        return nobody_at(self._endpoint.target, "")

    def _options(self, timeout_s: float) -> dict[str, Any]:
        """Return gRPC's options of one attempt.

        Without `wait_for_ready` a call to a server that restarts fails at once, and between such
        calls gRPC looks at its sockets only every 5 s.
        """
        return {
            "timeout": timeout_s,
            "metadata": self._endpoint.metadata,
            "wait_for_ready": self._waits,
        }

    @abstractmethod
    async def _attempt(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        timeout_s: float,
    ) -> Answer:
        """Make one attempt; where the client is closed meanwhile, raise `closed()`."""

    @abstractmethod
    async def _pause(self, seconds: float) -> None:
        """Let some time pass."""

    @abstractmethod
    def _is_connected(self) -> bool:
        """Tell whether the channel is connected to a server now."""


class ThreadCaller(Caller):
    """Makes the calls of a client for threads; its coroutines block and never suspend."""

    def __init__(self, channel: grpc.Channel, endpoint: Endpoint, *, waits: bool) -> None:
        """Make calls over a channel; see `Caller`."""
        super().__init__(endpoint, waits=waits)
        self._channel = channel

    async def _attempt(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        timeout_s: float,
    ) -> Answer:
        try:
            return method(request, **self._options(timeout_s))
        except ValueError:
            # gRPC raises this for a channel that another thread closed.
            if self.is_closed():
                raise closed() from None
            raise

    async def _pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # it is meant to block its thread

    def _is_connected(self) -> bool:
        is_ready = threading.Event()

        def note(state: grpc.ChannelConnectivity) -> None:
            if state is grpc.ChannelConnectivity.READY:
                is_ready.set()

        # Not `channel_ready_future`: it makes gRPC's poller connect, which goes on after the
        # question and fails in a thread of its own if the channel is closed meanwhile.
        self._channel.subscribe(note)
        try:
            return is_ready.wait(PROBE_S)
        finally:
            self._channel.unsubscribe(note)


class LoopCaller(Caller):
    """Makes the calls of a client for an event loop."""

    def __init__(self, channel: grpc.aio.Channel, endpoint: Endpoint, *, waits: bool) -> None:
        """Make calls over a channel; see `Caller`."""
        super().__init__(endpoint, waits=waits)
        self._channel = channel

    async def _attempt(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        timeout_s: float,
    ) -> Answer:
        try:
            # A stub over an aio channel returns a call to await, which its static type hides.
            call = cast("Awaitable[Answer]", method(request, **self._options(timeout_s)))
            return await call
        except asyncio.CancelledError:
            # Closing the client cancels its calls; the tasks that made them are not cancelled.
            task = asyncio.current_task()
            if self.is_closed() and not (task and task.cancelling()):
                raise closed() from None
            raise

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _is_connected(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY


def patience_s(timeout_s: float, slices: Slices | None) -> float:
    """Return how long all attempts of a call may take, in seconds."""
    return timeout_s if slices is None else slices.patience_s(timeout_s)


def ask_to_wait(request: Any, slices: Slices | None) -> None:  # noqa: ANN401  # one with a timeout
    """Set the request's `timeout` to what is left of a wait; without `slices` do nothing."""
    if slices is not None:
        request.timeout.CopyFrom(duration(slices.next_s()))


def final(error: errors.BacklaneError, target: str, *, is_doubtful: bool) -> errors.BacklaneError:
    """Return the error that ends a call.

    Args:
        error: the last attempt's.
        target: the server's address, for the message.
        is_doubtful: whether an earlier attempt may have taken effect.
    """
    told = explained(error, target)
    return told.after_another_attempt() if is_doubtful else told


def closed() -> errors.CallCancelledError:
    """Return the error of a client that was closed."""
    parts = errors.ErrorParts(grpc.StatusCode.CANCELLED, "this client is closed")
    return errors.CallCancelledError(parts)


def silent(target: str, timeout_s: float) -> errors.CallTimeoutError:
    """Return the error of a server that can be reached and does not answer."""
    text = f"{target} did not answer within {timeout_s:g} s"
    return errors.CallTimeoutError(errors.ErrorParts(grpc.StatusCode.DEADLINE_EXCEEDED, text))
