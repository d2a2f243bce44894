"""Owns the question who calls. Nothing is configured today, so the request is taken at its word.

A credential decides later: an `Identify` reads it from a call and answers a principal, or refuses.
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
"""Answers who makes a call, or raises `backlane.server.refusal.RefusedError`."""


def identify_from(config: Config) -> Identify | None:
    """Return how callers are identified; None takes each request's tenant at its word."""
    del config  # It holds no credentials yet.
    return None


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach that host name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
