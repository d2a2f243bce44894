"""Owns the settings of a client, and builds its calls from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from backlane.channel import TLS, Endpoint, tenant_or_default
from backlane.client.calls import Calls
from backlane.client.enqueues import Enqueues
from backlane.client.times import call_timeout_s

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from backlane.client.connection import Connection

CALL_TIMEOUT_S: Final = 30.0


class ClientBase:
    """A client of either kind, for one tenant of one server."""

    _connection_kind: ClassVar[type[Connection]]

    def __init__(  # one for each setting
        self,
        target: str | None = None,
        *,
        tenant: str | None = None,
        call_timeout: float | timedelta = CALL_TIMEOUT_S,
        tls: TLS | bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        wait_for_server: bool = True,
    ) -> None:
        """Describe a client; nothing is opened before the first call.

        Args:
            target: the server, `HOST:PORT`; `$BACKLANE_TARGET`, else 127.0.0.1:7433.
            tenant: whose executions they are; `$BACKLANE_TENANT`, else `default`.
            call_timeout: how long a call may take, waits for a server that is away included, in
                seconds. Waits for results have timeouts of their own, and look two seconds longer
                for a server that is away.
            tls: how to speak TLS; True as the system has it, False not at all.
            metadata: headers that go with every call, such as `authorization`.
            wait_for_server: whether calls are made again while the server is away; they are safe
                to repeat. False fails at once.

        Raises:
            ValueError: a setting cannot be used; the message names it.
        """
        timeout_s = call_timeout_s(call_timeout)
        self.endpoint: Final = Endpoint.of(target, tls, metadata)
        self.tenant: Final = tenant_or_default(tenant)
        self._connection = self._connection_kind(
            self.endpoint, type(self).__name__, waits=wait_for_server
        )
        self._calls = Calls(self._connection, self.tenant, timeout_s)
        self._enqueues = Enqueues(self._calls)

    def __repr__(self) -> str:
        """Name the server and the tenant."""
        return f"<{type(self).__name__} {self.endpoint.target} tenant {self.tenant}>"
