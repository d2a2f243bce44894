"""Owns the interface of a core that the transport needs, so that tests can replace the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from backlane._core import Principal

Completion = tuple[int, int, bytes, str]
"""Ticket, code, payload and message, as `Core.drain` returns them."""

MESSAGE = -1
"""The code of a completion whose payload is a message for the client of a stream."""
RESUME = -2
"""The code of a completion that allows reading a stream again."""
NOTICE = -3
"""The code of a completion whose message is a line for the server's log."""
SERVER_TICKET = 0
"""The ticket of completions about the server itself: notices, and the report of a failed store."""

WORK = "/backlane.v1.WorkerService/Work"
"""The method whose streams are workers. All other streams are producers."""


class CorePort(Protocol):
    """The part of `backlane._core.Core` that calls and streams use; documented there."""

    # ruff: noqa: D102  # documented in the implementation

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
