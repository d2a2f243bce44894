"""Owns the limits of the transport: how much of what it holds at once, and for how long."""

from __future__ import annotations

from typing import Final, NamedTuple

MEBIBYTE: Final = 1024 * 1024

COUNTED_BYTES: Final = 16 * 1024
"""Replies up to this size are limited by the number of calls in flight, and not by their bytes."""


class Bounds(NamedTuple):
    """The limits of the transport.

    Attributes:
        max_in_flight: the most unary calls at once, including long polls.
        max_streams: the most open streams.
        write_limit_s: how long a client may take to read one reply or one message of a stream, in
            seconds.
        request_limit_s: how long the request of a unary call may take to arrive, in seconds.
        hello_limit_s: how long a client may take to send the first message of a stream, in seconds.
        hurry_s: how long a write or a request may take, in seconds, while the server is short of
            room: all calls in flight are taken, or `unread_bytes` are exceeded.
        unread_bytes: the most bytes of replies and messages that clients have not read.
        unread_bytes_per_peer: the most bytes of unread replies of one connection.
    """

    max_in_flight: int
    max_streams: int
    write_limit_s: float = 30.0
    request_limit_s: float = 30.0
    hello_limit_s: float = 10.0
    hurry_s: float = 1.0
    unread_bytes: int = 96 * MEBIBYTE
    unread_bytes_per_peer: int = 32 * MEBIBYTE

    @property
    def check_s(self) -> float:
        """The time between two checks of the limits on time, in seconds.

        It is the precision of these limits: a write may take up to a thirtieth longer.
        """
        return min(self.hurry_s / 4, self.write_limit_s / 30, self.hello_limit_s / 4)
