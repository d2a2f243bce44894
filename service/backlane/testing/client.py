"""Owns the client of a test that moves the clock: its delays count from the server's time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from backlane.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from backlane.client.base import Prepared, Slice
    from backlane.client.target import Target
    from backlane.testing.clock import Clock

_NONE = timedelta(0)


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

    def _prepare(self, called: object, given: object, options: Mapping[str, object]) -> Prepared:
        return super()._prepare(called, given, self._dated(options))

    def _slices(
        self, called: object, inputs: Iterable[object], options: Mapping[str, object]
    ) -> tuple[Target | None, float, Iterator[Slice]]:
        return super()._slices(called, inputs, self._dated(options))

    def _dated(self, options: Mapping[str, Any]) -> Mapping[str, object]:
        """Add to a delay what the server is ahead; what is no delay is refused as ever."""
        if "delay" not in options:
            return options
        delay = options["delay"]
        try:
            span = delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
            return {**options, "delay": span + self._clock.ahead} if span >= _NONE else options
        except (TypeError, ValueError, OverflowError):
            return options
