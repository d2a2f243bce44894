"""What the transport needs of a core, so that tests can put a small one in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from backlane._core import Principal

Completion = tuple[int, int, bytes, str]
"""Ticket, code, payload and message, as `Core.drain` hands them out."""

MESSAGE = -1
"""Code of a completion: the payload is a message down its stream."""
RESUME = -2
"""Code of a completion: its stream may be read again."""
NOTICE = -3
"""Code of a completion: the message is a line for the server's log."""
SERVER_TICKET = 0
"""Ticket of completions that concern the server itself: notices, and the failure of the store."""


class CorePort(Protocol):
    """The part of `backlane._core.Core` that calls and streams go through; documented there."""

    # ruff: noqa: D102  # documented where it is implemented

    @property
    def fd(self) -> int: ...
    def methods(self) -> list[tuple[str, bool]]: ...
    def call(
        self, method: int, principal: Principal | None, timeout_ms: int | None, request: bytes, /
    ) -> int: ...
    def wake(self) -> None: ...
    def abandon(self, ticket: int, /) -> None: ...
    def open(self, method: int, principal: Principal | None, /) -> int: ...
    def send(self, stream: int, message: bytes, /) -> bool: ...
    def half_close(self, stream: int, /) -> None: ...
    def close(self, stream: int, /) -> None: ...
    def written(self, stream: int, size: int, /) -> None: ...
    def drain(self) -> list[Completion]: ...
    def begin_drain(self) -> None: ...
