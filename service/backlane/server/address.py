"""Owns listening on the server's address, with clear messages if that is not possible."""

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
    """The server cannot listen on its address; the message says why in one line."""


def check_address(config: Config) -> None:
    """Bind the address once before grpc does, because grpc does not say what failed and why.

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
    # A name may have addresses of a family that this machine does not support.
    missing = [error for error in errors if error in _FAMILY_MISSING]
    wrong = [error for error in errors if error and error not in _FAMILY_MISSING]
    if wrong or len(missing) == len(errors):
        reason = os.strerror((wrong or missing)[0]).lower()
        raise AddressError(_cannot(config, reason))


def _cannot(config: Config, why: str) -> str:
    return f"cannot listen on {config.listen}: {why}; choose another address with --listen"


def _probe(family: int, address: tuple[Any, ...]) -> int:
    """Listen on one address once, and return the error number; 0 means success."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # grpc binds each family separately. A probe for both would conflict with itself.
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
            # `bind` succeeds beside a listener that allows reuse of its address; `listen` fails.
            probe.listen(1)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def listen(server: grpc.aio.Server, config: Config) -> str:
    """Make the server listen, and return the address with its real port.

    Raises:
        AddressError: the port was taken after `check_address`, or gRPC cannot use the host.
    """
    try:
        port = server.add_insecure_port(config.listen)
    except RuntimeError as error:
        check_address(config)  # says why, if the port was taken meanwhile
        why = "gRPC does not know this form of a host"
        raise AddressError(_cannot(config, why)) from error
    return f"{config.listen.rpartition(':')[0]}:{port}"
