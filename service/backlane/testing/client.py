"""Owns the client for tests that move the clock: its delays count from the server's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backlane.client import Client

if TYPE_CHECKING:
    from datetime import datetime

    from backlane.testing.clock import Clock


class ClockedClient(Client):
    """A client whose `delay` counts from a server's clock, and not from the machine's."""

    def __init__(self, clock: Clock, target: str, *, tenant: str) -> None:
        """Make a client.

        Args:
            clock: the server's clock.
            target: the server's address, `HOST:PORT`.
            tenant: the tenant of the executions.
        """
        self._clock = clock
        super().__init__(target, tenant=tenant)

    def _now(self) -> datetime:
        return self._clock.now()
