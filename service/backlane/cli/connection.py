"""Owns the client of the commands: checks the server's address and opens the client."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

from backlane import errors
from backlane.channel import TARGET_VARIABLE, TENANT_VARIABLE, tenant_or_default
from backlane.cli.exits import Exit
from backlane.cli.refusals import trouble_of
from backlane.cli.trouble import Trouble
from backlane.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.cli.options import Place

CALL_TIMEOUT_S: Final = 10.0
"""How long one call may take, in seconds. Waits have timeouts of their own."""
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")
_PORT_MAX: Final = 65535
_SCHEMES: Final = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:")
"""Other forms of address that gRPC resolves."""


@contextmanager
def connect(place: Place) -> Iterator[Client]:
    """Open a client for the block.

    Raises:
        Trouble: a call failed; the line says what to do about it.
        typer.BadParameter: the target is not an address, or the tenant cannot be sent.
    """
    target = checked_target(place.target)
    with Client(
        target,
        tenant=checked_tenant(place.tenant),
        call_timeout=CALL_TIMEOUT_S,
        wait_for_server=False,
    ) as client:
        try:
            yield client
        except errors.InvalidInputError as error:
            raise Trouble(str(error), Exit.USAGE) from error
        except errors.BacklaneError as error:
            raise trouble_of(error, target, place.flags) from error
        except UnicodeEncodeError as error:
            # Bytes of an argument that are not UTF-8 arrive as surrogates.
            raise Trouble(f"the argument {error.object!r} is not UTF-8", Exit.USAGE) from error


def checked_target(target: str) -> str:
    """Return the target if it is an address that gRPC can use.

    Raises:
        typer.BadParameter: it is not.
    """
    address = _ADDRESS.fullmatch(target)
    # gRPC would cut a larger port to sixteen bits, and reach some other server.
    if (address and int(address["port"]) <= _PORT_MAX) or target.startswith(_SCHEMES):
        return target
    raise typer.BadParameter(
        f"{target!r} is not HOST:PORT, such as 127.0.0.1:7433",
        param_hint=_source("--target", TARGET_VARIABLE, target),
    )


def checked_tenant(tenant: str) -> str:
    """Return the tenant if it can be sent; whether it is a tenant's name the server knows.

    Raises:
        typer.BadParameter: it is empty, or not UTF-8.
    """
    try:
        return tenant_or_default(tenant)
    except ValueError:
        problem = f"{tenant!r} is not UTF-8" if tenant else "it must not be empty"
        source = _source("--tenant", TENANT_VARIABLE, tenant)
        raise typer.BadParameter(problem, param_hint=source) from None


def _source(flag: str, variable: str, value: str) -> str:
    """Return where a value came from: the environment, or the command line."""
    return variable if value == os.environ.get(variable) else flag
