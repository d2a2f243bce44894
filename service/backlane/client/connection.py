"""Owns a client's connection: the channel, its single calls with their retries, and its pipe.

`Connection.call` is the one retry loop. The two kinds of connections say how an attempt is made
and how a pause is spent. The channel opens with the first call. From then on a connection belongs
to one process, because gRPC does not survive a fork; that of an event loop belongs to one loop too.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

import grpc

from backlane import errors
from backlane.client.loop_pipe import LoopPipe
from backlane.client.patience import Patience, closed, explained, nobody_at, silent
from backlane.client.thread_pipe import ThreadPipe
from backlane.client.times import duration
from backlane.sdk.blocking import finish
from backlane.v1 import execution_service_pb2 as api
from backlane.v1.admin_service_pb2_grpc import AdminServiceStub
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub

if TYPE_CHECKING:
    from backlane.channel import Endpoint
    from backlane.client.pipe import Pipe
    from backlane.client.times import Slices

Request = TypeVar("Request")
Answer = TypeVar("Answer")

PROBE_S: Final = 0.05
"""How long a connected channel may take to report that it is connected, in seconds."""


class Connection(ABC):
    """The connection of one client.

    Attributes:
        endpoint: the server.
        stub: the service's methods, to be called through `call`; there once it is opened.
        admin: the methods of operators, to be called the same way.
        pipe: takes enqueues; there once it is opened.
    """

    stub: ExecutionServiceStub
    admin: AdminServiceStub
    pipe: Pipe

    def __init__(self, endpoint: Endpoint, owner: str, *, waits: bool) -> None:
        """Describe a connection; the channel opens with the first call.

        Args:
            endpoint: the server, and the headers of each call.
            owner: the name of the client's class, for errors.
            waits: whether to repeat what failed while the server is away.
        """
        self.endpoint: Final = endpoint
        self._owner = owner
        self._waits = waits
        self._process: int | None = None
        self._is_closed = False
        # Without `wait_for_ready` a call to a server that restarts fails at once, and between
        # such calls gRPC looks at its sockets only every 5 s.
        self._options: dict[str, Any] = {"metadata": endpoint.metadata, "wait_for_ready": waits}

    def opened(self) -> Self:
        """Return the connection itself, opened if need be.

        Raises:
            ForkedError: this process is a fork of the one that opened the connection.
            CallCancelledError: the client was closed before its first call.
            OSError: a file of its TLS settings cannot be read.
        """
        process = os.getpid()
        if self._process is not None and self._process != process:
            raise errors.ForkedError(self._owner, self._process, process)
        self._ensure_open()
        return self

    async def close(self) -> None:
        """End all calls and close the channel.

        After a fork it does nothing: gRPC's locks are as the fork found them, and closing could
        wait for ever.
        """
        if not self._is_forked:
            await self._close()

    async def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        timeout_s: float,
        slices: Slices | None = None,
    ) -> Answer:
        """Make a call, again while the server is away, and return its answer.

        Args:
            method: the stub's method.
            request: its request.
            timeout_s: how long all attempts together may take, in seconds.
            slices: for a call that waits on the server: how long; each attempt asks for what is
                left, in the request's `timeout`.

        Raises:
            BacklaneError: the server refused the call, cannot be reached, or did not answer.
        """
        patience_s = timeout_s if slices is None else slices.patience_s(timeout_s)
        patience = Patience(patience_s, waits=self._waits)
        is_doubtful = False
        while not self._is_closed:
            if slices is not None:
                cast("Any", request).timeout.CopyFrom(duration(slices.next_s()))
            try:
                answer: Answer = await self._attempt(method, request, patience.left_s)
            except grpc.RpcError as broken:
                error = errors.from_rpc_error(broken)
                if isinstance(error, errors.CallTimeoutError):
                    raise await self.late(timeout_s) from broken
                pause_s = patience.pause_s(error)
                if pause_s is None:
                    told = explained(error, self.endpoint.target)
                    raise (told.after_another_attempt() if is_doubtful else told) from broken
                is_doubtful = is_doubtful or error.maybe_applied
            else:
                return answer
            await self.pause(pause_s)
        raise closed()

    async def late(self, timeout_s: float) -> errors.BacklaneError:
        """Return the error of a call that had no answer in time.

        Without `waits` a missing server would have been reported at once.
        """
        if not self._waits or self._is_connected():
            return silent(self.endpoint.target, timeout_s)
        return nobody_at(self.endpoint.target, await self._why_away())

    async def _why_away(self) -> str:
        """Return gRPC's reason for having no connection; only a call that waits for none has it."""
        try:
            await self._attempt(self.stub.Get, api.GetRequest(), PROBE_S, wait_for_ready=False)
        except grpc.RpcError as broken:
            error = errors.from_rpc_error(broken)
            return error.message if isinstance(error, errors.UnavailableError) else ""
        except errors.CallCancelledError:
            pass  # the client was closed meanwhile
        return ""

    @abstractmethod
    async def pause(self, seconds: float) -> None:
        """Let others have their turn, for some seconds or once."""

    @property
    def _is_forked(self) -> bool:
        return self._process not in {None, os.getpid()}

    @abstractmethod
    def _ensure_open(self) -> None:
        """Open the channel and note the process, where that is not done yet."""

    @abstractmethod
    async def _close(self) -> None:
        """Close what is open."""

    async def _attempt(
        self,
        method: Any,  # noqa: ANN401  # one of the stub's
        request: Any,  # noqa: ANN401  # the method's own
        timeout_s: float,
        **options: Any,  # noqa: ANN401  # gRPC's
    ) -> Any:  # noqa: ANN401  # the method's own
        """Make one attempt; where the client is closed meanwhile, raise `closed()`."""
        try:
            answer = method(request, timeout=timeout_s, **{**self._options, **options})
            return await answer if isinstance(answer, Awaitable) else answer
        except (ValueError, asyncio.CancelledError):
            # A channel that is closed raises the one in a thread and the other in a task.
            if self._is_cut_off():
                raise closed() from None
            raise

    def _is_cut_off(self) -> bool:
        """Tell whether a call that was ended was so because the client is closed."""
        return self._is_closed

    @abstractmethod
    def _is_connected(self) -> bool:
        """Tell whether the channel is connected to a server now."""


def stream(channel: Any) -> Any:  # noqa: ANN401  # of either kind, which have no type in common
    """Return the method `EnqueueStream` of a channel, for requests that are encoded already."""
    service = api.DESCRIPTOR.services_by_name["ExecutionService"].full_name
    return channel.stream_stream(
        f"/{service}/EnqueueStream",
        response_deserializer=api.EnqueueStreamResponse.FromString,
    )


_OPEN: Final[weakref.WeakSet[ThreadConnection]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what a program left open: at its very end gRPC would wait for threads that are gone."""
    for connection in list(_OPEN):
        finish(connection.close())


class ThreadConnection(Connection):
    """A connection that many threads share. Its coroutines block and never suspend."""

    _channel: grpc.Channel
    _is_open = False

    def __init__(self, endpoint: Endpoint, owner: str, *, waits: bool) -> None:
        """Describe a connection; see `Connection`."""
        super().__init__(endpoint, owner, waits=waits)
        self._opening = threading.Lock()

    async def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)  # noqa: ASYNC251  # it is meant to block its thread

    def _ensure_open(self) -> None:
        if self._is_open:
            return
        with self._opening:
            if self._is_closed:
                raise closed()
            if not self._is_open:
                self._open()

    def _open(self) -> None:
        self._channel = self.endpoint.open()
        self.stub = ExecutionServiceStub(self._channel)
        self.admin = AdminServiceStub(self._channel)
        self.pipe = ThreadPipe(partial(stream(self._channel), **self._options), waits=self._waits)
        self._process = os.getpid()
        _OPEN.add(self)
        self._is_open = True

    async def _close(self) -> None:
        with self._opening:
            self._is_closed = True
        if self._is_open:
            await self.pipe.close()
            _OPEN.discard(self)
            self._channel.close()

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


class LoopConnection(Connection):
    """A connection of one event loop: the one that runs when the first call is made."""

    _loop: asyncio.AbstractEventLoop | None = None
    _channel: grpc.aio.Channel

    async def pause(self, seconds: float) -> None:
        """Let other tasks run."""
        await asyncio.sleep(seconds)

    def _ensure_open(self) -> None:
        """Open the channel in the loop of the first call.

        Raises:
            RuntimeError: another loop runs by now.
            CallCancelledError: the client was closed before its first call.
            OSError: a file of its TLS settings cannot be read.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            raise RuntimeError("this AsyncClient belongs to another event loop: make one for each")
        if self._is_closed:
            raise closed()
        self._channel = self.endpoint.open_aio()
        # Typed as a stub for threads, so that each call is written once; `_attempt` awaits it.
        self.stub = cast("ExecutionServiceStub", ExecutionServiceStub(self._channel))
        self.admin = cast("AdminServiceStub", AdminServiceStub(self._channel))
        self.pipe = LoopPipe(partial(stream(self._channel), **self._options), waits=self._waits)
        self._process = os.getpid()
        self._loop = loop

    async def _close(self) -> None:
        if self._loop is not None:
            self._ensure_open()
            await self.pipe.close()
        self._is_closed = True
        if self._loop is not None:
            await self._channel.close()

    def _is_cut_off(self) -> bool:
        # The task that makes the call may have been cancelled itself.
        task = asyncio.current_task()
        return self._is_closed and not (task and task.cancelling())

    def _is_connected(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY
