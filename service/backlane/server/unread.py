"""Owns the account of what clients have not read yet: replies, and messages of streams.

A client that stops reading keeps its replies in the memory of the server. Two limits hold for them:
one on time and one on bytes. What is over the limit on time is given up: a stream gets an error,
and if its client does not read that either, or does not read a reply, the connection is closed.
While there is too little room, a shorter limit on time holds.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from typing import TYPE_CHECKING

from backlane.server.bounds import COUNTED_BYTES
from backlane.server.refusal import Refusal, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from backlane.server.bounds import Bounds

    Context = grpc.aio.ServicerContext[bytes, bytes]

_LOG = logging.getLogger(__name__)


class Unread:
    """What is being sent, and its bytes, by connection and in total.

    Attributes:
        bytes: of counted replies, and of messages of streams that are not sent yet.
    """

    def __init__(self, bounds: Bounds, close: Callable[[str], object]) -> None:
        """Make an empty account; `close` closes the connection of a peer."""
        self.bytes = 0
        self._crowded_at = -math.inf
        self._bounds = bounds
        self._close = close
        # When each began, in the order of their begins, so that a check can stop at the first
        # young one. What few of them have is kept apart, because each call pays for this.
        self._began: dict[Context, float] = {}
        self._counted: dict[Context, tuple[str, int]] = {}
        self._give_up: dict[Context, Callable[[], None]] = {}
        self._by_peer: dict[str, int] = {}

    def crowd(self) -> None:
        """Note that a call was refused, because others take all the room."""
        self._crowded_at = time.monotonic()

    @property
    def is_crowded(self) -> bool:
        """Whether a call was refused lately. The shorter limit on time has time to pass."""
        return time.monotonic() - self._crowded_at <= 2 * self._bounds.hurry_s

    def refuses(self, context: Context, size: int) -> Refusal | None:
        """Return why a reply is not sent, and None if it may be.

        Ask this only about a call that changed nothing: an error says that nothing was changed.
        """
        if size <= COUNTED_BYTES:
            return None
        bounds, held = self._bounds, self._by_peer.get(context.peer(), 0)
        # A reply without others before it always has room, whatever its size.
        if held and held + size > bounds.unread_bytes_per_peer:
            return _too_much("this connection", held, bounds.unread_bytes_per_peer)
        if self.bytes and self.bytes + size > bounds.unread_bytes:
            self.crowd()
            return _too_much("the server", self.bytes, bounds.unread_bytes)
        return None

    def begin(
        self, context: Context, size: int = 0, give_up: Callable[[], None] | None = None
    ) -> None:
        """Note that a reply or a message is being sent.

        A connection is closed that has more than twice its share of unread replies: of calls that
        changed something, for only they are not refused.
        """
        self._began[context] = time.monotonic()
        if give_up is not None:
            self._give_up[context] = give_up
        if size > COUNTED_BYTES:
            peer = context.peer()
            self._counted[context] = peer, size
            self.bytes += size
            held = self._by_peer[peer] = self._by_peer.get(peer, 0) + size
            if held > max(2 * self._bounds.unread_bytes_per_peer, size):
                self._close_for(peer, f"it left {held} bytes of replies unread")

    def end(self, context: Context) -> None:
        """Note that it was sent, or that its client is gone; harmless if it never began."""
        self._began.pop(context, None)
        if self._give_up:
            self._give_up.pop(context, None)
        if self._counted and (counted := self._counted.pop(context, None)) is not None:
            peer, size = counted
            self.bytes -= size
            self._by_peer[peer] -= size
            if not self._by_peer[peer]:
                del self._by_peer[peer]

    def check(self) -> None:
        """End what takes too long."""
        bounds = self._bounds
        is_short = self.is_crowded or self.bytes > bounds.unread_bytes
        limit_s = min(bounds.hurry_s, bounds.write_limit_s) if is_short else bounds.write_limit_s
        latest = time.monotonic() - limit_s
        late = itertools.takewhile(lambda entry: entry[1] <= latest, self._began.items())
        closed = set()
        for context in [context for context, _ in late]:
            if (give_up := self._give_up.get(context)) is not None:
                give_up()
            elif (peer := context.peer()) not in closed:
                closed.add(peer)
                self._close_for(peer, f"it did not read a reply for {limit_s:g} s")

    def _close_for(self, peer: str, why: str) -> None:
        if self._close(peer):
            _LOG.warning("closed the connection of %s: %s", peer, why)


def _too_much(whose: str, held: int, most: int) -> Refusal:
    return refusal(
        "RATE_LIMITED",
        f"{whose} has {held} bytes of replies that were not read; the limit is {most}: read them, "
        "ask for smaller pages, or try again later",
        metadata={"unread_bytes": str(held), "max_unread_bytes": str(most)},
        retry_after_s=1.0,
    )
