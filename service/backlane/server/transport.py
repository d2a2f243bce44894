"""Owns the routing of calls from grpc to the core, and of completions back to their calls.

No message is decoded here, and a completion costs one dispatch.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc

from backlane.server.calls import Calls
from backlane.server.port import NOTICE, SERVER_TICKET
from backlane.server.refusal import refusal
from backlane.server.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from backlane._core import Principal
    from backlane.server.identity import Identify
    from backlane.server.port import CorePort

_LOG = logging.getLogger(__name__)

CONFIRMED: Final = frozenset({"/backlane.v1.WorkerService/Lease"})
"""Unary methods for which the core has to know whether the reply was sent. If it was not, the core
releases the leases in it, which would otherwise be lost until they expire."""


class Bounds(NamedTuple):
    """The limits of the transport.

    Attributes:
        max_in_flight: the most unary calls at once, including long polls.
        max_streams: the most open streams.
        write_limit_s: how long a client may take to read one message of a stream, in seconds.
    """

    max_in_flight: int
    max_streams: int
    write_limit_s: float = 30.0


class Transport(grpc.GenericRpcHandler):
    """Serves every RPC of the core. Make it inside the running event loop."""

    def __init__(
        self,
        core: CorePort,
        bounds: Bounds,
        *,
        on_failure: Callable[[str], None],
        identify: Identify | None = None,
    ) -> None:
        """Route the core's methods and begin to take its completions.

        Args:
            core: the core, or a replacement of it.
            bounds: the limits.
            on_failure: called with the core's message when its store has failed. Nothing is
                delivered afterwards.
            identify: authenticates callers; None means no authentication.
        """
        self._core = core
        self._on_failure = on_failure
        self._calls = Calls(core, bounds.max_in_flight, identify)
        self._streams = Streams(core, bounds.max_streams, bounds.write_limit_s, identify)
        self._numbers = {
            path: number for number, (path, is_stream) in enumerate(core.methods()) if not is_stream
        }
        self._handlers = {
            path: self._streaming(number, path) if is_stream else self._unary(number, path)
            for number, (path, is_stream) in enumerate(core.methods())
        }
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(core.fd, self._dispatch)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Return the handler of a method; grpc calls this for every call."""
        return self._handlers.get(handler_call_details.method)

    async def ask(
        self,
        path: str,
        request: bytes,
        *,
        principal: Principal | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Make a unary call from inside the process, by the same road as a call over gRPC.

        Args:
            path: the method, such as `/backlane.v1.ExecutionService/Get`.
            request: the serialized request message.
            principal: the caller; None where no identity is configured.
            timeout_s: how long the caller waits, in seconds. The core bounds long polls by it.

        Returns:
            The serialized reply message.

        Raises:
            RefusedError: the call was refused.
            LookupError: the core has no unary method of that path.
        """
        wait_ms = None if timeout_s is None else int(timeout_s * 1000)
        return await self._calls.ask(self._numbers[path], principal, wait_ms, request)

    async def settle(self, grace_s: float) -> bool:
        """Wait until the calls and streams that are open now have ended.

        Returns whether they have, within that many seconds.
        """
        waiting: list[asyncio.Future[Any]] = [*self._calls.pending.values()]
        waiting += [stream.closed for stream in self._streams.open.values()]
        if not waiting:
            return True
        _, unanswered = await asyncio.wait(waiting, timeout=grace_s)
        return not unanswered

    def shed(self) -> None:
        """End all open calls and streams with DRAINING."""
        end = refusal("DRAINING", "the server is stopping", retry_after_s=0.5)
        for ticket, future in self._calls.pending.items():
            self._core.abandon(ticket)
            if not future.done():
                future.set_result((ticket, *end))
        self._calls.pending.clear()
        for stream in self._streams.open.values():
            stream.take(*end)

    def close(self) -> None:
        """Stop taking completions."""
        self._loop.remove_reader(self._core.fd)

    def _dispatch(self) -> None:
        pending, streams = self._calls.pending, self._streams.open
        try:
            completions = self._core.drain()
        except BaseException as error:  # noqa: BLE001  # what it drained is lost
            self.close()
            self._on_failure(f"the core broke: {error!r}")
            return
        for completion in completions:
            ticket, code, payload, message = completion
            future = pending.pop(ticket, None)
            if future is not None:
                # A cancelled call removes itself, but some time after it was cancelled.
                if not future.done():
                    future.set_result(completion)
            elif ticket in streams:
                streams[ticket].take(code, payload, message)
            elif ticket == SERVER_TICKET and code == NOTICE:
                _LOG.error("%s", message)
            elif ticket == SERVER_TICKET:
                self.close()
                self._on_failure(message)
                return

    def _streaming(self, number: int, path: str) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.stream_stream_rpc_method_handler(self._streams.handler(number, path))

    def _unary(self, number: int, path: str) -> grpc.RpcMethodHandler[bytes, bytes]:
        if path in CONFIRMED:
            confirmed = self._calls.handler(number, path, confirmed=True)
            return grpc.unary_stream_rpc_method_handler(confirmed)
        return grpc.unary_unary_rpc_method_handler(
            self._calls.handler(number, path, confirmed=False)
        )
