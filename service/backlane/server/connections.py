"""Owns the end of a connection whose client holds the server's memory.

grpc.aio has no call for it. It also cannot cancel one call of a client that stopped reading: the
status would wait behind the reply. So the server shuts down the socket, which it finds among its
open files by the address of the peer. Grpc then cancels all calls of the connection.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_DESCRIPTORS: Final = Path("/proc/self/fd")

Address = tuple[str, int]


def close_connection(peer: str) -> bool:
    """Shut down the connection of a peer, such as `ipv4:127.0.0.1:50412`.

    Returns whether there was one.
    """
    wanted = _address_of(peer)
    if wanted is None:
        return False
    found = [number for number in _sockets() if _shut_down(number, wanted)]
    return bool(found)


def _address_of(peer: str) -> Address | None:
    """Read grpc's name of a peer; None if it has no host and port."""
    family, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    if family not in {"ipv4", "ipv6"} or not port.isdigit():
        return None
    return _plain(host.strip("[]")), int(port)


def _plain(host: str) -> str:
    """Return one spelling of an address; a socket for both families has IPv4 inside IPv6."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _sockets() -> list[int]:
    """Return the numbers of the open files that are sockets."""
    numbers = []
    for entry in _DESCRIPTORS.iterdir():
        try:
            if entry.readlink().name.startswith("socket:"):
                numbers.append(int(entry.name))
        except OSError:
            continue  # Closed meanwhile.
    return numbers


def _shut_down(number: int, wanted: Address) -> bool:
    # A duplicate, since grpc may close the file at any time, and the number may be used again.
    try:
        with socket.socket(fileno=os.dup(number)) as connection:
            if connection.family not in {socket.AF_INET, socket.AF_INET6}:
                return False
            host, port = connection.getpeername()[:2]
            if (_plain(host), port) != wanted:
                return False
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return False  # A listener, or closed meanwhile.
    return True
