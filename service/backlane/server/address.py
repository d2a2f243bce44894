"""Owns the port: finds out in clear words whether it can be had, then has grpc listen on it."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import grpc

    from backlane.config import Config


_FAMILY_MISSING: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class AddressError(Exception):
    """The server cannot listen there; the message is one clear line."""


def check_address(config: Config) -> None:
    """Bind the address for a moment, since grpc tells neither what failed nor why.

    Raises:
        AddressError: the name is unknown, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise AddressError(_cannot(config, str(error.strerror))) from error
    errors = [_probe(family, address) for family, _, _, _, address in found]
    # A name may have an address of a family that this machine lacks; the others do then.
    missing = [error for error in errors if error in _FAMILY_MISSING]
    wrong = [error for error in errors if error and error not in _FAMILY_MISSING]
    if wrong or len(missing) == len(errors):
        reason = os.strerror((wrong or missing)[0]).lower()
        raise AddressError(_cannot(config, reason))


def _cannot(config: Config, why: str) -> str:
    return f"cannot listen on {config.listen}: {why}; choose another address with --listen"


def _probe(family: int, address: tuple[Any, ...]) -> int:
    """Listen on one address for a moment, and return the error number, 0 where it went well."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # grpc binds each family by itself; a probe for both would see a clash of its own.
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
            # Only listening tells of a listener that allows its address to be reused.
            probe.listen(1)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def listen(server: grpc.aio.Server, config: Config) -> str:
    """Have the server listen, and return the address with its real port.

    Raises:
        AddressError: somebody else took the port since it was checked.
    """
    try:
        port = server.add_insecure_port(config.listen)
    except RuntimeError as error:
        raise AddressError(_cannot(config, "address already in use")) from error
    return f"{config.listen.rpartition(':')[0]}:{port}"
