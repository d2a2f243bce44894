"""A core without an engine, which records calls of the transport and is controlled by a test."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backlane._core import Principal
    from backlane.server.port import Completion

ASK = "/test.Service/Ask"
LEASE = "/backlane.v1.WorkerService/Lease"
TALK = "/test.Service/Talk"
WORK = "/backlane.v1.WorkerService/Work"
LIST = "/backlane.v1.ExecutionService/List"


class FakeCore:
    """Has the interface of `backlane._core.Core`; a test is its engine.

    Attributes:
        log: everything the transport told, in order, as (name of the method, *arguments).
        is_echo: whether calls and stream messages are answered at once, with themselves.
        takes_more: what `send` answers.
        wakes: how often it was woken.
        raises: what `call` and `open` raise instead of taking anything.
    """

    def __init__(self, *, is_echo: bool = False) -> None:
        self.log: list[tuple[object, ...]] = []
        self.is_echo = is_echo
        self.takes_more = True
        self.wakes = 0
        self.raises: Exception | None = None
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waiting: list[asyncio.Future[None]] = []
        self._ready: deque[Completion] = deque()
        self._tickets = 0

    def methods(self) -> list[tuple[str, bool]]:
        return [(ASK, False), (LEASE, False), (TALK, True), (WORK, True), (LIST, False)]

    def call(
        self, method: int, principal: Principal | None, timeout_ms: int | None, request: bytes
    ) -> int:
        if self.raises is not None:
            raise self.raises
        ticket = self._next_ticket()
        if self.is_echo:
            self.complete(ticket, 0, request)
        else:
            self._note("call", ticket, method, principal, timeout_ms, request)
        return ticket

    def wake(self) -> None:
        self.wakes += 1

    def abandon(self, ticket: int) -> None:
        self._note("abandon", ticket)

    def open(self, method: int, principal: Principal | None) -> int:
        if self.raises is not None:
            raise self.raises
        ticket = self._next_ticket()
        self._note("open", ticket, method, principal)
        return ticket

    def send(self, stream: int, message: bytes) -> bool:
        if self.is_echo:
            self.complete(stream, -1, message)
        else:
            self._note("send", stream, message)
        return self.takes_more

    def half_close(self, stream: int) -> None:
        self._note("half_close", stream)
        if self.is_echo:
            self.complete(stream, 0)

    def close(self, stream: int) -> None:
        self._note("close", stream)

    def written(self, stream: int, size: int) -> None:
        if not self.is_echo:
            self._note("written", stream, size)

    def drain(self) -> list[Completion]:
        os.eventfd_read(self.fd)
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def begin_drain(self) -> None:
        self._note("begin_drain")

    def complete(self, ticket: int, code: int, payload: bytes = b"", message: str = "") -> None:
        """Complete a call, as the engine would."""
        self._ready.append((ticket, code, payload, message))
        os.eventfd_write(self.fd, 1)

    async def until(self, name: str, count: int = 1) -> tuple[object, ...]:
        """Wait until the transport made that many calls of this name, and return the last one."""
        while len(self.told(name)) < count:
            news = asyncio.get_running_loop().create_future()
            self._waiting.append(news)
            await news
        return self.told(name)[count - 1]

    def told(self, name: str) -> list[tuple[object, ...]]:
        """Return the transport's calls of this name."""
        return [entry for entry in self.log if entry[0] == name]

    def release(self) -> None:
        """Close the file descriptor."""
        os.close(self.fd)

    def _note(self, *entry: object) -> None:
        self.log.append(entry)
        for news in self._waiting:
            if not news.done():
                news.set_result(None)
        self._waiting.clear()

    def _next_ticket(self) -> int:
        self._tickets += 1
        return self._tickets
