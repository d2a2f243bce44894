"""Owns the routing of calls from grpc to the core, and of completions back to their calls.

No message is decoded here, and a completion costs one dispatch.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import grpc

from backlane.server.calls import CONFIRMED, Calls
from backlane.server.connections import close_connection
from backlane.server.memory import Memory, resident_bytes, trimmer
from backlane.server.port import NOTICE, SERVER_TICKET
from backlane.server.refusal import DRAINING
from backlane.server.streams import Streams
from backlane.server.unread import Unread

if TYPE_CHECKING:
    from collections.abc import Callable

    from backlane._core import Principal
    from backlane.server.bounds import Bounds
    from backlane.server.identity import Identify
    from backlane.server.port import CorePort

_LOG = logging.getLogger(__name__)


def _is_about_the_server(record: logging.LogRecord) -> bool:
    """Tell whether a record of grpc is about more than a client that left before its reply."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, grpc.aio.InternalError)


# grpc logs a traceback for each reply that was not sent, if it learns of that before it learns that
# the client is gone.
logging.getLogger("grpc._cython.cygrpc").addFilter(_is_about_the_server)


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
        self._unread = Unread(bounds, close_connection)
        self._calls = Calls(core, bounds, self._unread, identify)
        self._streams = Streams(core, bounds, self._unread, identify)
        self._numbers = {
            path: number for number, (path, is_stream) in enumerate(core.methods()) if not is_stream
        }
        self._handlers = {
            path: self._streaming(number, path) if is_stream else self._unary(number, path)
            for number, (path, is_stream) in enumerate(core.methods())
        }
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(core.fd, self._dispatch)
        self._memory = Memory(resident_bytes, trimmer())
        self._check_s = bounds.check_s
        self._check = self._loop.call_later(self._check_s, self._check_limits)

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

    async def drain_producers(self, grace_s: float) -> None:
        """Answer what producers have sent on streams, and end these streams with DRAINING.

        Waits until they have ended, at most `grace_s` seconds. New ones are refused.
        """
        await self._streams.drain_producers(grace_s)

    def end_arrivals(self) -> None:
        """End the calls whose request has not arrived with DRAINING, and those that begin later."""
        self._calls.end_arrivals()

    def shed(self) -> None:
        """End all open calls and streams with DRAINING."""
        self._calls.shed()
        for stream in self._streams.open.values():
            stream.take(*DRAINING)

    def close(self) -> None:
        """Stop taking completions."""
        self._check.cancel()
        self._loop.remove_reader(self._core.fd)

    def _check_limits(self) -> None:
        """End what takes too long, and check again later.

        One timer serves all limits, because a timer per call or write would cost more than it.
        """
        self._calls.check(is_crowded=self._unread.is_crowded)
        self._unread.check()
        self._streams.check()
        self._memory.look()
        self._check = self._loop.call_later(self._check_s, self._check_limits)

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
                self._streams.take(ticket, code, payload, message)
            elif ticket == SERVER_TICKET and code == NOTICE:
                _LOG.error("%s", message)
            elif ticket == SERVER_TICKET:
                self.close()
                self._on_failure(message)
                return

    def _streaming(self, number: int, path: str) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.stream_stream_rpc_method_handler(self._streams.handler(number, path))

    def _unary(self, number: int, path: str) -> grpc.RpcMethodHandler[bytes, bytes]:
        # As streams for grpc, since the handlers read and write themselves.
        handler = self._calls.handler(number, path)
        if path in CONFIRMED:
            return grpc.stream_stream_rpc_method_handler(handler)
        return grpc.stream_unary_rpc_method_handler(handler)
