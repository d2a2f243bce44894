"""Owns channels to a server: where it is, TLS, metadata, and who may use them after a fork.

Environment variables give what is not given: `BACKLANE_TARGET` and `BACKLANE_TENANT`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TARGET_DEFAULT: Final = "127.0.0.1:7433"
TENANT_DEFAULT: Final = "default"
TARGET_VARIABLE: Final = "BACKLANE_TARGET"
TENANT_VARIABLE: Final = "BACKLANE_TENANT"

MESSAGE_BYTES_MAX: Final = 20 << 20
"""What the server's transport takes, and what is taken from it."""
OPTIONS: Final[Sequence[tuple[str, int | str]]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # gRPC's own backoff starts at a second, longer than a restart of the server takes; leases
    # survive a broken stream for five.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Finds a server that vanished without a word; it allows a ping every 5 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Two channels to one server are two connections: closing one leaves the other alone.
    ("grpc.use_local_subchannel_pool", 1),
)
_HEADER_NAME: Final = re.compile(r"[a-z0-9_.-]+")
_HEADER_VALUE: Final = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """How to speak TLS. Each part is PEM bytes or a file that holds them.

    Attributes:
        ca: the certificates that the server's is checked against; the system's own where absent.
        certificate: this side's certificate, for servers that ask for one; with `key`.
        key: its private key.
        server_name: the name that the server's certificate is for, where it is not the target's.
    """

    ca: bytes | Path | str | None = None
    certificate: bytes | Path | str | None = None
    key: bytes | Path | str | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files and make gRPC's credentials.

        Raises:
            OSError: a file cannot be read.
            ValueError: of certificate and key one is missing.
        """
        if (self.certificate is None) != (self.key is None):
            raise ValueError("TLS needs certificate and key together, or neither of them")
        return grpc.ssl_channel_credentials(_pem(self.ca), _pem(self.key), _pem(self.certificate))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and how it is spoken to.

    Attributes:
        target: its address, `HOST:PORT` or any other name that gRPC resolves.
        tls: how to speak TLS; None speaks plain text.
        metadata: headers that go with every call, such as `authorization`; those whose names end
            in `-bin` are bytes.
    """

    target: str
    tls: TLS | None = None
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    options: Sequence[tuple[str, int | str]] = field(default=OPTIONS, repr=False)

    @classmethod
    def of(
        cls,
        target: str | None = None,
        tls: TLS | bool = False,  # noqa: FBT001, FBT002  # `True` is TLS as the system has it
        metadata: Mapping[str, str | bytes] | None = None,
    ) -> Endpoint:
        """Complete what is given with the environment and the defaults.

        Raises:
            ValueError: a header cannot be sent; the message names it, and not what it holds.
        """
        headers = tuple((metadata or {}).items())
        for name, value in headers:
            _check_header(name, value)
        address = target or os.environ.get(TARGET_VARIABLE) or TARGET_DEFAULT
        return cls(address, tls if isinstance(tls, TLS) else TLS() if tls else None, headers)

    def open(self) -> grpc.Channel:
        """Open a channel for threads; it connects with its first call."""
        if self.tls is None:
            return grpc.insecure_channel(self.target, options=self._all_options())
        return grpc.secure_channel(self.target, self.tls.credentials(), self._all_options())

    def open_aio(self) -> grpc.aio.Channel:
        """Open a channel for the running event loop; it connects with its first call."""
        if self.tls is None:
            return grpc.aio.insecure_channel(self.target, options=self._all_options())
        return grpc.aio.secure_channel(self.target, self.tls.credentials(), self._all_options())

    def _all_options(self) -> list[tuple[str, int | str]]:
        options = list(self.options)
        if self.tls is not None and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options


def tenant_or_default(tenant: str | None) -> str:
    """Complete a tenant that is not given with the environment and the default."""
    return tenant or os.environ.get(TENANT_VARIABLE) or TENANT_DEFAULT


def _check_header(name: object, value: object) -> None:
    """Refuse what gRPC would not send, which it says only once a call is made."""
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"metadata {name!r} must be named by a-z 0-9 _ . -, as HTTP/2 wants it")
    if name.endswith("-bin"):
        if not isinstance(value, bytes):
            raise ValueError(f"metadata {name!r} must be bytes, as its name ends in -bin")
    elif not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"metadata {name!r} must be a text of one line, in ASCII")


def _pem(given: bytes | Path | str | None) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    return Path(given).read_bytes()
