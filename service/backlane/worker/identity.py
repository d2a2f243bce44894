"""Owns the ids of workers: no two running workers may have the same one.

The server withholds what a worker gave back from that worker's id for 5 s, and records tell workers
apart by it. A container's host and process numbers repeat, so a random part makes ids unique.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from typing import Final

ID: Final = re.compile(r"[A-Za-z0-9._:@/-]{1,128}")
ID_CHARACTERS_MAX: Final = 128
_STRANGE: Final = re.compile(r"[^A-Za-z0-9._-]+")


def unique_id(name: str) -> str:
    """Return the id of a worker that starts now: `NAME@HOST:PROCESS-RANDOM`.

    Args:
        name: the name of the worker; if it is empty, the id begins with the host. A host that is
            too long is cut.
    """
    tail = f":{os.getpid()}-{secrets.token_hex(3)}"
    host = _STRANGE.sub("-", socket.gethostname()) or "host"
    front = f"{name}@{host}" if name else host
    return front[: ID_CHARACTERS_MAX - len(tail)] + tail


def checked_id(given: str, what: str) -> str:
    """Return a name or an id that the server accepts; `what` it is.

    Raises:
        ValueError: it has another form.
    """
    if not ID.fullmatch(given):
        raise ValueError(f"{what} {given!r} must be 1 to 128 of A-Z a-z 0-9 . _ : @ / -")
    return given
