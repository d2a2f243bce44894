"""Owns single calls: made again while the server is away, until their time is over."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import grpc

from backlane import errors
from backlane.client.patience import Patience, explained, nobody_at
from backlane.client.requests import duration

if TYPE_CHECKING:
    from backlane.channel import Endpoint
    from backlane.client.times import Slices

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Channel = TypeVar("Channel")

PROBE_S: Final = 0.05
"""How long a connected channel may take to say that it is, in seconds."""


class _Calls(Generic[Channel]):
    """What calls of either kind are made with, until they are closed."""

    def __init__(self, channel: Channel, endpoint: Endpoint, *, waits: bool) -> None:
        """Make calls over a channel."""
        self._channel = channel
        self._endpoint = endpoint
        self._waits = waits
        self._is_closed = False

    def close(self) -> None:
        """Make no call any more; the channel is about to be closed."""
        self._is_closed = True

    def is_closed(self) -> bool:
        """Tell whether it is closed, which somebody else may do at any time."""
        return self._is_closed


class Caller(_Calls["grpc.Channel"]):
    """Makes the calls of a client of threads."""

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        timeout_s: float,
        slices: Slices | None = None,
    ) -> Answer:
        """Make a call.

        Args:
            method: what to call.
            request: what with.
            timeout_s: how long all attempts may take, in seconds.
            slices: what the server is to wait itself; each attempt asks for what is left of it.
        """
        patience = Patience(patience_s(timeout_s, slices), waits=self._waits)
        is_doubtful = False
        while not self.is_closed():
            try:
                ask_to_wait(request, slices)
                # Without `wait_for_ready` a call to a server that restarts fails at once, and
                # between such calls gRPC looks at its sockets only every 5 s.
                return method(
                    request,
                    timeout=patience.left_s,
                    metadata=self._endpoint.metadata,
                    wait_for_ready=self._waits,
                )
            except grpc.RpcError as broken:
                error = errors.from_rpc_error(broken)
                if isinstance(error, errors.CallTimeoutError):
                    raise self.late(timeout_s) from broken
                pause_s = patience.pause_s(error)
                if pause_s is None:
                    raise final(error, self._endpoint.target, is_doubtful=is_doubtful) from broken
                is_doubtful = is_doubtful or error.maybe_applied
            except ValueError:
                # gRPC's own word for a channel that another thread closed.
                if self.is_closed():
                    break
                raise
            time.sleep(pause_s)
        raise closed()

    def late(self, timeout_s: float) -> errors.BacklaneError:
        """Return the error of a call without an answer: is there a server at all?"""
        if not self._waits:
            # Nobody there would have been told at once.
            return silent(self._endpoint.target, timeout_s)
        is_ready = threading.Event()

        def note(state: grpc.ChannelConnectivity) -> None:
            if state is grpc.ChannelConnectivity.READY:
                is_ready.set()

        # Not `channel_ready_future`: it asks gRPC's poller to connect, which outlives the question
        # and fails, in a thread of its own, where the channel is closed meanwhile.
        self._channel.subscribe(note)
        try:
            if is_ready.wait(PROBE_S):
                return silent(self._endpoint.target, timeout_s)
        finally:
            self._channel.unsubscribe(note)
        return nobody_at(self._endpoint.target, "")


class AsyncCaller(_Calls["grpc.aio.Channel"]):
    """Makes the calls of a client of an event loop."""

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        timeout_s: float,
        slices: Slices | None = None,
    ) -> Answer:
        """Make a call; see `Caller.call`."""
        patience = Patience(patience_s(timeout_s, slices), waits=self._waits)
        is_doubtful = False
        while not self.is_closed():
            try:
                ask_to_wait(request, slices)
                return await method(
                    request,
                    timeout=patience.left_s,
                    metadata=self._endpoint.metadata,
                    wait_for_ready=self._waits,
                )
            except grpc.RpcError as broken:
                error = errors.from_rpc_error(broken)
                if isinstance(error, errors.CallTimeoutError):
                    raise self.late(timeout_s) from broken
                pause_s = patience.pause_s(error)
                if pause_s is None:
                    raise final(error, self._endpoint.target, is_doubtful=is_doubtful) from broken
                is_doubtful = is_doubtful or error.maybe_applied
            except asyncio.CancelledError:
                # A close cancels the calls, and no task is to take that for its own end.
                task = asyncio.current_task()
                if self.is_closed() and not (task and task.cancelling()):
                    break
                raise
            await asyncio.sleep(pause_s)
        raise closed()

    def late(self, timeout_s: float) -> errors.BacklaneError:
        """Return the error of a call without an answer: is there a server at all?"""
        if not self._waits or self._channel.get_state() is grpc.ChannelConnectivity.READY:
            return silent(self._endpoint.target, timeout_s)
        return nobody_at(self._endpoint.target, "")


def patience_s(timeout_s: float, slices: Slices | None) -> float:
    """Return how long all attempts of a call may take, in seconds."""
    return timeout_s if slices is None else slices.patience_s(timeout_s)


def ask_to_wait(request: Any, slices: Slices | None) -> None:  # noqa: ANN401  # one with a timeout
    """Ask a server to wait for what is left of a wait, where the call is one."""
    if slices is not None:
        request.timeout.CopyFrom(duration(slices.next_s()))


def final(error: errors.BacklaneError, target: str, *, is_doubtful: bool) -> errors.BacklaneError:
    """Return what a caller is told in the end, where an attempt before may have taken effect."""
    told = explained(error, target)
    return told.after_another_attempt() if is_doubtful else told


def closed() -> errors.CallCancelledError:
    """Return the error of a client that was closed."""
    parts = errors.ErrorParts(grpc.StatusCode.CANCELLED, "this client is closed")
    return errors.CallCancelledError(parts)


def silent(target: str, timeout_s: float) -> errors.CallTimeoutError:
    """Return the error of a server that is there and does not answer."""
    text = f"{target} did not answer within {timeout_s:g} s"
    return errors.CallTimeoutError(errors.ErrorParts(grpc.StatusCode.DEADLINE_EXCEEDED, text))
