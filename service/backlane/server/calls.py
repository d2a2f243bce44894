"""Owns unary calls, each with a ticket and a future, from the request until the reply is sent.

This is the hot path: beyond `grpc.aio` a call costs a future and a dictionary entry.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from backlane.server.refusal import Refusal, RefusedError, abort, refusal, refusal_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backlane._core import Principal
    from backlane.server.identity import Identify
    from backlane.server.port import Completion, CorePort

    Context = grpc.aio.ServicerContext[bytes, bytes]
    Handler = Callable[[bytes, Context], Awaitable[bytes]]


class Calls:
    """The unary calls in flight, by ticket."""

    def __init__(self, core: CorePort, max_in_flight: int, identify: Identify | None) -> None:
        """Make an empty table that accepts `max_in_flight` calls at once."""
        self.pending: dict[int, asyncio.Future[Completion]] = {}
        self._in_flight = 0
        self._waking = False
        self._loop = asyncio.get_running_loop()
        self._core = core
        self._max_in_flight = max_in_flight
        self._identify = identify
        self._too_many = refusal(
            "RATE_LIMITED",
            f"the server has {max_in_flight} calls in flight, its limit: try again later",
            metadata={"max_in_flight": str(max_in_flight)},
            retry_after_s=1.0,
        )

    # All calls that arrive in one turn of the loop share one wake, so that the core decides them
    # together.
    def _wake_soon(self) -> None:
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        self._core.wake()

    async def ask(
        self, method: int, principal: Principal | None, wait_ms: int | None, request: bytes
    ) -> bytes:
        """Make a call from inside the process and return its reply.

        Raises:
            RefusedError: too many calls are in flight, or the core refused this one.
        """
        if self._in_flight >= self._max_in_flight:
            raise RefusedError(self._too_many)
        self._in_flight += 1
        try:
            return await self._reply(method, principal, wait_ms, request)
        finally:
            self._in_flight -= 1

    async def _reply(
        self,
        method: int,
        principal: Principal | None,
        wait_ms: int | None,
        request: bytes,
        deliver: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> bytes:
        """Have the core decide a call. With `deliver` the core learns whether that succeeded.

        Raises:
            RefusedError: the core refused the call.
            asyncio.CancelledError: the caller is gone.
        """
        core, pending = self._core, self.pending
        ticket = core.call(method, principal, wait_ms, request)
        self._wake_soon()
        future: asyncio.Future[Completion] = self._loop.create_future()
        pending[ticket] = future
        try:
            _, code, payload, message = await future
            if deliver is not None and not code:
                await deliver(payload)
                core.written(ticket, len(payload))
        except (asyncio.CancelledError, grpc.aio.BaseError) as gone:
            # The caller is gone. If the completion had come already, this tells the core that the
            # reply was not delivered. grpc would log a failed write, but not a cancel.
            pending.pop(ticket, None)
            core.abandon(ticket)
            raise asyncio.CancelledError from gone
        if code:
            raise RefusedError(Refusal(code, payload, message))
        return payload

    def handler(self, method: int, path: str, *, confirmed: bool) -> Handler:
        """Return the gRPC handler of a method.

        With `confirmed` the core learns whether the reply was sent. grpc does not tell a handler
        that about a reply it returned. The handler therefore writes its reply itself, like one of a
        streaming method. Clients see no difference, but it costs a second round to grpc's core.
        """
        # Local variables, because each attribute would cost a look-up per call.
        reply, identify = self._reply, self._identify
        max_in_flight, too_many = self._max_in_flight, self._too_many

        def leave(_context: object) -> None:
            self._in_flight -= 1

        async def answer(request: bytes, context: Context) -> bytes:
            if self._in_flight >= max_in_flight:
                await abort(context, *too_many)
            self._in_flight += 1
            # Called when the reply was sent, so that replies which nobody reads count too.
            context.add_done_callback(leave)  # type: ignore[arg-type]  # any callable works
            try:
                principal = None if identify is None else identify(context)
                left_s = context.time_remaining()
                wait_ms = (
                    int(left_s * 1000)
                    if left_s is not None  # type: ignore[redundant-expr]  # the stubs forget None
                    else None
                )
                deliver = context.write if confirmed else None
                payload = await reply(method, principal, wait_ms, request, deliver)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  # grpc would send its text
                await abort(context, *refusal_for(error, path))
            return payload

        return answer
