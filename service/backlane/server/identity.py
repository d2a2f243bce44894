"""Owns authentication. There is none yet: each request may name any tenant.

Later an `Identify` will read a credential from a call, and return a principal or refuse the call.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from backlane._core import Principal
    from backlane.config import Config

Identify = Callable[[grpc.aio.ServicerContext[bytes, bytes]], "Principal"]
"""Returns the principal of a call, or raises `backlane.server.refusal.RefusedError`."""


def identify_from(config: Config) -> Identify | None:
    """Return how callers are authenticated; None means not at all."""
    del config  # It has no credentials yet.
    return None


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
