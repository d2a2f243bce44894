"""Owns how a channel to a server is opened: its address, TLS, headers, and the way to it.

`BACKLANE_TARGET` and `BACKLANE_TENANT` give the address and the tenant if the code does not.
A server on this machine's loopback is never called through a proxy, whatever `http_proxy` says.
"""

from __future__ import annotations

import ipaddress
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
"""The largest message in either direction; the server's transport has the same limit."""
OPTIONS: Final[Sequence[tuple[str, int | str]]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # gRPC's own backoff starts at one second, and a server restarts faster. Leases survive a
    # broken stream for five seconds.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Finds a server that is gone without closing the connection. It allows a ping every 5 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Two channels to one server are two connections: closing one leaves the other alone.
    ("grpc.use_local_subchannel_pool", 1),
)
_NO_PROXY: Final = ("grpc.enable_http_proxy", 0)
_PROXY_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
"""Where gRPC looks for a proxy; the first that is set counts."""
_EXEMPT_VARIABLES: Final = ("no_grpc_proxy", "no_proxy")
_SCHEME: Final = re.compile(r"(dns|ipv4|ipv6):(//[^/]*/)?/?")
_HOST: Final = re.compile(r"(\[(?P<six>[^\]]+)\]|(?P<name>[^:/\[\],]+))(:\d+)?(,.*)?")
_LOOPBACK: Final = re.compile(r"127(\.\d+){1,3}|(.+\.)?localhost\.?", re.IGNORECASE)
_HEADER_NAME: Final = re.compile(r"[a-z0-9_.-]+")
_HEADER_VALUE: Final = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """TLS settings. Certificates and keys are PEM bytes, or the path of a file with them.

    Attributes:
        ca: the CA certificates that the server's certificate is checked against; the system's by
            default.
        certificate: the client's certificate, for servers that ask for one; needs `key`.
        key: the private key of `certificate`.
        server_name: the name in the server's certificate, if it differs from the target's.
    """

    ca: bytes | Path | str | None = None
    certificate: bytes | Path | str | None = None
    key: bytes | Path | str | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files and make gRPC's credentials.

        Raises:
            OSError: a file cannot be read.
            ValueError: only one of certificate and key is given.
        """
        if (self.certificate is None) != (self.key is None):
            raise ValueError("TLS needs both a certificate and a key, or neither")
        return grpc.ssl_channel_credentials(_pem(self.ca), _pem(self.key), _pem(self.certificate))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address, and how to connect to it.

    Attributes:
        target: the address, `HOST:PORT` or another name that gRPC resolves.
        tls: the TLS settings; None connects without TLS.
        metadata: headers of every call, such as `authorization`. Headers whose names end in `-bin`
            are bytes.
        options: gRPC's channel options.
    """

    target: str
    tls: TLS | None = None
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    options: Sequence[tuple[str, int | str]] = field(default=OPTIONS, repr=False)

    @classmethod
    def of(
        cls,
        target: str | None = None,
        tls: TLS | bool = False,  # noqa: FBT001, FBT002  # `True` is TLS with the system's settings
        metadata: Mapping[str, str | bytes] | None = None,
    ) -> Endpoint:
        """Make an endpoint; the environment and the defaults fill in what is not given.

        Raises:
            ValueError: the target is empty, or a header cannot be sent. The message has the
                header's name, and never its value.
        """
        if target == "":
            raise ValueError("target must not be empty: leave it out for the default")
        headers = tuple((metadata or {}).items())
        for name, value in headers:
            _check_header(name, value)
        address = target or os.environ.get(TARGET_VARIABLE) or TARGET_DEFAULT
        return cls(address, tls if isinstance(tls, TLS) else TLS() if tls else None, headers)

    def open(self) -> grpc.Channel:
        """Open a channel for threads; it connects on the first call."""
        if self.tls is None:
            return grpc.insecure_channel(self.target, options=self._all_options())
        return grpc.secure_channel(self.target, self.tls.credentials(), self._all_options())

    def open_aio(self) -> grpc.aio.Channel:
        """Open a channel for the running event loop; it connects on the first call."""
        if self.tls is None:
            return grpc.aio.insecure_channel(self.target, options=self._all_options())
        return grpc.aio.secure_channel(self.target, self.tls.credentials(), self._all_options())

    def _all_options(self) -> list[tuple[str, int | str]]:
        options = list(self.options)
        if _is_loopback(_host_of(self.target)):
            options.append(_NO_PROXY)
        if self.tls is not None and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options


def tenant_or_default(tenant: str | None) -> str:
    """Return the given tenant, else that of the environment, else the default.

    Raises:
        ValueError: the tenant is empty, or not UTF-8.
    """
    if tenant == "":
        raise ValueError("tenant must not be empty: leave it out for the default")
    name = "tenant" if tenant else TENANT_VARIABLE
    chosen = tenant or os.environ.get(TENANT_VARIABLE) or TENANT_DEFAULT
    try:
        chosen.encode()
    except UnicodeEncodeError:
        # Bytes of a variable or an argument that are not UTF-8 arrive as surrogates.
        raise ValueError(f"{name} {chosen!r} is not UTF-8") from None
    return chosen


def proxy_of(target: str) -> tuple[str, str] | None:
    """Return the proxy through which gRPC calls a target; None if there is none.

    Returns:
        The environment variable that names the proxy, and the proxy without its password.
    """
    host = _host_of(target)
    variable = next((name for name in _PROXY_VARIABLES if os.environ.get(name)), None)
    if variable is None or host is None or _is_loopback(host) or _is_exempt(host):
        return None
    proxy = os.environ[variable]
    # gRPC uses no proxy of another kind.
    is_used = proxy.startswith("http://")
    return (variable, re.sub(r"//[^/]*@", "//", proxy)) if is_used else None


def through_proxy(target: str) -> str:
    """Return the words that name the proxy on the way to a target; empty if there is none."""
    proxy = proxy_of(target)
    return "" if proxy is None else f"through the proxy {proxy[1]}, which {proxy[0]} names"


def _host_of(target: str) -> str | None:
    """Return the host in a target; None for a target without one, such as `unix:/socket`."""
    scheme = _SCHEME.match(target)
    match = _HOST.fullmatch(target, scheme.end() if scheme else 0)
    return None if match is None else match["six"] or match["name"]


def _is_loopback(host: str | None) -> bool:
    if host is None or _LOOPBACK.fullmatch(host):
        return host is not None
    return (address := _as_address(host)) is not None and address.is_loopback


def _is_exempt(host: str) -> bool:
    """Tell whether `no_proxy` has the host: as the end of its name, or by its network."""
    given = next((os.environ[name] for name in _EXEMPT_VARIABLES if os.environ.get(name)), "")
    entries = [entry.strip().lower() for entry in given.split(",") if entry.strip()]
    return any(host.lower().endswith(entry) or _is_in(host, entry) for entry in entries)


def _is_in(host: str, network: str) -> bool:
    address = _as_address(host)
    try:
        return address is not None and address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check_header(name: object, value: object) -> None:
    """Refuse a header that gRPC would refuse too, but only when a call is made."""
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise ValueError(
            f"the name of metadata {name!r} may have a-z 0-9 _ . - only, as HTTP/2 requires"
        )
    if name.endswith("-bin"):
        if not isinstance(value, bytes):
            raise ValueError(f"metadata {name!r} must be bytes, because its name ends in -bin")
    elif not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"metadata {name!r} must be one line of ASCII text")


def _pem(given: bytes | Path | str | None) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    return Path(given).read_bytes()
