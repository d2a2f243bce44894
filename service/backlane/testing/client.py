"""Owns the client of a test that moves the clock: its delays count from the server's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backlane.client import Client

if TYPE_CHECKING:
    from datetime import datetime

    from backlane.testing.clock import Clock


class ClockedClient(Client):
    """A client that takes `delay` by a server's clock. Any other takes it by the machine's."""

    def __init__(self, clock: Clock, target: str, *, tenant: str) -> None:
        """Describe a client.

        Args:
            clock: the server's clock.
            target: the server, `HOST:PORT`.
            tenant: whose executions they are.
        """
        self._clock = clock
        super().__init__(target, tenant=tenant)

    def _now(self) -> datetime:
        return self._clock.now()
