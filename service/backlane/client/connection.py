"""Owns a client's connection: the channel, with its single calls and its pipe of enqueues.

A connection belongs to one process, because gRPC does not survive a fork; that of an event loop
belongs to one loop as well.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from backlane import errors
from backlane.client.blocking import finish
from backlane.client.caller import LoopCaller, ThreadCaller, closed
from backlane.client.loop_pipe import LoopPipe
from backlane.client.thread_pipe import ThreadPipe
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from backlane.channel import Endpoint
    from backlane.client.caller import Caller
    from backlane.client.pipe import Pipe
    from backlane.v1 import execution_service_pb2 as api


@dataclass(frozen=True, slots=True)
class Lines:
    """The two ways to the server over an open channel.

    Attributes:
        stub: the methods, to be called through `caller`.
        caller: makes single calls.
        pipe: takes enqueues.
    """

    stub: ExecutionServiceStub
    caller: Caller
    pipe: Pipe


class Connection(ABC):
    """The connection of one client; its two kinds block a thread or wait for an event loop."""

    def __init__(self, endpoint: Endpoint, owner: str, *, waits: bool) -> None:
        """Describe a connection; the channel connects with its first call.

        Args:
            endpoint: the server.
            owner: the name of the client's class, for errors.
            waits: whether to repeat what failed while the server is away.
        """
        self.endpoint: Final = endpoint
        self._owner = owner
        self._waits = waits
        self._process = os.getpid()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a fork of the one that made the connection."""
        return os.getpid() != self._process

    def lines(self) -> Lines:
        """Return what calls are made with.

        Raises:
            ForkedError: this process is a fork of the one that made the connection.
        """
        if self.is_forked:
            raise errors.ForkedError(self._owner, self._process, os.getpid())
        return self._opened()

    async def close(self) -> None:
        """End all calls and close the channel.

        After a fork it does nothing: gRPC's locks are as the fork found them, and closing could
        wait for ever.
        """
        if not self.is_forked:
            await self._close()

    @abstractmethod
    def _opened(self) -> Lines:
        """Return the lines, opened if need be."""

    @abstractmethod
    async def _close(self) -> None:
        """Close what is open."""


_OPEN: Final[weakref.WeakSet[ThreadConnection]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what a program left open: at its very end gRPC would wait for threads that are gone."""
    for connection in list(_OPEN):
        finish(connection.close())


class ThreadConnection(Connection):
    """A connection that many threads share. Its coroutines block and never suspend."""

    def __init__(self, endpoint: Endpoint, owner: str, *, waits: bool) -> None:
        """Open the channel; see `Connection`."""
        super().__init__(endpoint, owner, waits=waits)
        self._channel = endpoint.open()
        _OPEN.add(self)
        self._lines = Lines(
            ExecutionServiceStub(self._channel),
            ThreadCaller(self._channel, endpoint, waits=waits),
            ThreadPipe(self._open_stream, waits=waits),
        )

    def _opened(self) -> Lines:
        return self._lines

    async def _close(self) -> None:
        await self._lines.pipe.close()
        _OPEN.discard(self)
        self._lines.caller.close()
        self._channel.close()

    def _open_stream(self, messages: Iterator[api.EnqueueStreamRequest]) -> Any:  # noqa: ANN401
        return self._lines.stub.EnqueueStream(
            messages, metadata=self.endpoint.metadata, wait_for_ready=self._waits
        )


class LoopConnection(Connection):
    """A connection of one event loop: the one that runs when the first call is made."""

    def __init__(self, endpoint: Endpoint, owner: str, *, waits: bool) -> None:
        """Describe a connection; the first call opens its channel. See `Connection`."""
        super().__init__(endpoint, owner, waits=waits)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel
        self._lines: Lines
        self._is_closed = False

    def _opened(self) -> Lines:
        """Return the lines, opened in the loop of the first call.

        Raises:
            RuntimeError: another loop runs by now.
            CallCancelledError: the client was closed before its first call.
            OSError: a file of its TLS settings cannot be read.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return self._lines
        if self._loop is not None:
            raise RuntimeError("this AsyncClient belongs to another event loop: make one for each")
        if self._is_closed:
            raise closed()
        self._channel = self.endpoint.open_aio()
        # The calls' static types are those of a stub for threads; `LoopCaller` awaits them.
        stub = cast("ExecutionServiceStub", ExecutionServiceStub(self._channel))
        self._lines = Lines(
            stub,
            LoopCaller(self._channel, self.endpoint, waits=self._waits),
            LoopPipe(self._open_stream, waits=self._waits),
        )
        self._loop = loop
        return self._lines

    async def _close(self) -> None:
        if self._loop is not None:
            lines = self._opened()
            await lines.pipe.close()
            lines.caller.close()
            await self._channel.close()
        self._is_closed = True

    def _open_stream(self) -> Any:  # noqa: ANN401  # the call's type has three parameters
        open_stream: Any = self._lines.stub.EnqueueStream
        return open_stream(metadata=self.endpoint.metadata, wait_for_ready=self._waits)
