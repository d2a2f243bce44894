"""Owns unary calls, each with a ticket and a future, from the request until the reply is sent.

This is the hot path: beyond `grpc.aio` a call costs a future and a dictionary entry.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Final, cast

import grpc

from backlane.server.refusal import (
    DRAINING,
    Refusal,
    RefusedError,
    abort,
    refusal,
    refusal_for,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backlane._core import Principal
    from backlane.server.bounds import Bounds
    from backlane.server.identity import Identify
    from backlane.server.port import Completion, CorePort
    from backlane.server.unread import Unread

    Context = grpc.aio.ServicerContext[bytes, bytes]
    Handler = Callable[[object, Context], Awaitable[bytes]]

CONFIRMED: Final = frozenset({"/backlane.v1.WorkerService/Lease"})
"""Unary methods for which the core has to know whether the reply was sent. If it was not, the core
releases the leases in it, which would otherwise be lost until they expire."""

READS: Final = frozenset(
    f"/backlane.v1.ExecutionService/{name}"
    for name in ("Get", "List", "ListAttempts", "Wait", "Peek", "GetQueueStats")
)
"""Unary methods that change nothing, so that a reply may be replaced by a refusal. Confirmed ones
may be refused as well, since what they gave is taken back."""

AT_ONCE: Final = {
    f"/backlane.v1.ExecutionService/{name}": most
    for name, most in (("List", 8), ("Peek", 8), ("ListAttempts", 8), ("Get", 32))
}
"""How many calls of a method the core decides at once; further ones wait. A reply may have 4 MB,
and all of it is in memory before its size is known."""
_OPEN: Final = contextlib.nullcontext()


class Calls:
    """The unary calls in flight, by ticket."""

    def __init__(
        self, core: CorePort, bounds: Bounds, unread: Unread, identify: Identify | None
    ) -> None:
        """Make an empty table that accepts `bounds.max_in_flight` calls at once."""
        max_in_flight = bounds.max_in_flight
        self.pending: dict[int, asyncio.Future[Completion]] = {}
        self._in_flight = 0
        self._waking = False
        self._loop = asyncio.get_running_loop()
        self._core = core
        self._max_in_flight = max_in_flight
        self._identify = identify
        self._bounds = bounds
        self._unread = unread
        # The calls whose request has not arrived, in the order in which they began.
        self._arriving: dict[asyncio.Task[object], float] = {}
        self._gates = {path: asyncio.Semaphore(most) for path, most in AT_ONCE.items()}
        # Those of them that are told to end, each with the refusal.
        self._late: dict[asyncio.Task[object], Refusal] = {}
        self._too_late = refusal(
            "RATE_LIMITED",
            f"the request did not arrive within {bounds.request_limit_s:g} s, or within "
            f"{bounds.hurry_s:g} s while all calls in flight were taken: try again",
            metadata={"request_limit_ms": str(round(bounds.request_limit_s * 1000))},
            retry_after_s=1.0,
        )
        self._no_request = refusal("INVALID_ARGUMENT", "the call has no request message")
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
        except RefusedError:
            core.abandon(ticket)  # `deliver` refused.
            raise
        except (asyncio.CancelledError, grpc.aio.BaseError) as gone:
            # The caller is gone. If the completion had come already, this tells the core that the
            # reply was not delivered. grpc would log a failed write, but not a cancel.
            pending.pop(ticket, None)
            core.abandon(ticket)
            raise asyncio.CancelledError from gone
        if code:
            raise RefusedError(Refusal(code, payload, message))
        return payload

    async def _request(self, context: Context) -> bytes:
        """Return the request of a call.

        Raises:
            RefusedError: there is none, or it did not arrive in time.
            asyncio.CancelledError: the caller is gone.
        """
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._arriving[task] = self._loop.time()
        try:
            request: object = await context.read()
        except asyncio.CancelledError:
            # If the caller is gone as well, there is nobody to answer.
            late = self._late.get(task)
            if late is None or task.uncancel():
                raise
            raise RefusedError(late) from None
        finally:
            del self._arriving[task]
            self._late.pop(task, None)
        if not isinstance(request, bytes):  # EOF
            raise RefusedError(self._no_request)
        return request

    def _deliver(self, context: Context) -> Callable[[bytes], Awaitable[None]]:
        """Return what writes the reply of a confirmed call."""

        async def deliver(payload: bytes) -> None:
            _refuse(self._unread.refuses(context, len(payload)))
            self._unread.begin(context, len(payload))
            await context.write(payload)

        return deliver

    def check(self, *, is_crowded: bool) -> None:
        """Refuse calls whose request takes too long to arrive."""
        bounds = self._bounds
        limit_s = bounds.request_limit_s
        if is_crowded:
            limit_s = min(bounds.hurry_s, limit_s)
        latest = self._loop.time() - limit_s
        late = list(itertools.takewhile(lambda entry: entry[1] <= latest, self._arriving.items()))
        for task, _ in late:
            self._end_arrival(task, self._too_late)

    def end_arrivals(self) -> None:
        """End the calls whose request has not arrived with DRAINING."""
        for task in self._arriving:
            self._end_arrival(task, DRAINING)

    def _end_arrival(self, task: asyncio.Task[object], why: Refusal) -> None:
        if task not in self._late:
            self._late[task] = why
            task.cancel()

    def shed(self) -> None:
        """End all calls with DRAINING."""
        for ticket, future in self.pending.items():
            self._core.abandon(ticket)
            if not future.done():
                future.set_result((ticket, *DRAINING))
        self.pending.clear()

    def handler(self, method: int, path: str) -> Handler:
        """Return the gRPC handler of a method.

        It reads the request itself, like one of a streaming method, so that a call counts before
        its request has arrived, and the time of the arrival can be limited.

        For a confirmed method the core learns whether the reply was sent. grpc does not tell a
        handler that about a reply it returned. The handler therefore writes its reply itself.
        Clients see no difference, but it costs a second round to grpc's core.
        """
        # Local variables, because each attribute would cost a look-up per call.
        receive, reply, identify, unread = self._request, self._reply, self._identify, self._unread
        max_in_flight, too_many = self._bounds.max_in_flight, self._too_many
        is_read, is_confirmed = path in READS, path in CONFIRMED
        gate = self._gates.get(path, _OPEN)

        def leave(context: Context) -> None:
            self._in_flight -= 1
            unread.end(context)

        async def answer(_requests: object, context: Context) -> bytes:
            if self._in_flight >= max_in_flight:
                unread.crowd()
                await abort(context, *too_many)
            self._in_flight += 1
            # Called when the reply was sent, so that replies which nobody reads count too.
            context.add_done_callback(leave)  # type: ignore[arg-type]  # any callable works

            end: Refusal | None
            try:
                request = await receive(context)
                principal = None if identify is None else identify(context)
                left_s = context.time_remaining()
                wait_ms = (
                    int(left_s * 1000)
                    if left_s is not None  # type: ignore[redundant-expr]  # the stubs forget None
                    else None
                )
                deliver = self._deliver(context) if is_confirmed else None
                async with gate:
                    payload = await reply(method, principal, wait_ms, request, deliver)
                end = unread.refuses(context, len(payload)) if is_read else None
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  # grpc would send its text
                end, payload = refusal_for(error, path), b""
            # Outside of `except`: grpc keeps the error that ends a call, and it would keep this
            # one with everything in its frames, such as a large reply.
            if end is not None:
                payload = b""
                await abort(context, *end)
            if not is_confirmed:
                unread.begin(context, len(payload))
            return payload

        return answer


def _refuse(why: Refusal | None) -> None:
    if why is not None:
        raise RefusedError(why)
