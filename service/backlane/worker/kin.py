"""Owns the calls that an attempt makes about its children: it spawns them and reads their records.

The calls go over the worker's connection, and are repeated while the server is away, for as long as
the attempt goes on. Each is written once, as a coroutine. A plain callable runs the same coroutine
over `_InThread`, which blocks wherever the other way would wait for the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc

from backlane import errors
from backlane.schema.records import BackgroundExecution
from backlane.sdk.backoff import Backoff, is_passing
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub

CALL_S: Final = 10.0
"""How long one attempt of a call may take, in seconds. Then the call is made again."""


class Way(Protocol):
    """How a call is made and how a pause is spent: in a task, or in a thread."""

    async def attempt(self, method: Any, request: Any) -> Any:  # noqa: ANN401  # the method's own
        """Make one attempt of a call and return its answer; raises grpc.RpcError."""

    async def pause(self, seconds: float) -> None:
        """Wait before the next attempt."""


class Kin:
    """The calls of a worker about the children of its executions. Thread-safe."""

    def __init__(
        self, stub: ExecutionServiceStub, metadata: Sequence[tuple[str, str | bytes]] = ()
    ) -> None:
        """Make calls.

        Args:
            stub: the calls of the server.
            metadata: headers of each call.
        """
        self._stub = stub
        # A call to a server that restarts waits for it.
        self._options: dict[str, Any] = {
            "timeout": CALL_S,
            "metadata": tuple(metadata),
            "wait_for_ready": True,
        }

    def in_loop(self) -> Way:
        """Return the way of a task."""
        return _InLoop(self._options)

    def in_thread(self, sleep: Callable[[float], object]) -> Way:
        """Return the way of a thread, which spends its pauses with `sleep`."""
        return _InThread(self._options, sleep)

    async def spawn(
        self, request: api.SpawnRequest, way: Way, check: Callable[[], object]
    ) -> BackgroundExecution:
        """Spawn a child and return its record.

        Args:
            request: the child, the lease of its parent, and the step.
            way: how the call is made.
            check: raises if the attempt has to stop.

        Raises:
            BacklaneError: the server refused it.
        """
        answer: api.SpawnResponse = await _ask(self._stub.Spawn, request, way, check)
        return BackgroundExecution(answer.execution)

    async def get(
        self, tenant_id: str, execution_id: str, way: Way, check: Callable[[], object]
    ) -> BackgroundExecution:
        """Read the record of an execution, in full.

        Args:
            tenant_id: its tenant.
            execution_id: the execution.
            way: how the call is made.
            check: raises if the attempt has to stop.

        Raises:
            ExecutionNotFoundError: it was removed meanwhile.
        """
        request = api.GetRequest(
            tenant_id=tenant_id, execution_id=execution_id, view=records.VIEW_FULL
        )
        answer: api.GetResponse = await _ask(self._stub.Get, request, way, check)
        return BackgroundExecution(answer.execution)


async def _ask(
    method: Any,  # noqa: ANN401  # one of the stub's
    request: Any,  # noqa: ANN401  # the method's own
    way: Way,
    check: Callable[[], object],
) -> Any:  # noqa: ANN401  # the method's own
    backoff = Backoff()
    while True:
        check()
        try:
            return await way.attempt(method, request)
        except grpc.RpcError as broken:
            error = errors.from_rpc_error(broken)
            # Repeating is safe: what a call creates has a request id.
            if not (is_passing(error) or isinstance(error, errors.CallTimeoutError)):
                raise error from broken
        await way.pause(backoff.pause_s(error))


class _InLoop:
    """Makes calls in a task of an event loop."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    async def attempt(self, method: Any, request: Any) -> Any:  # noqa: ANN401  # as in `Way`
        call = method.future(request, **self._options)
        loop = asyncio.get_running_loop()
        answered = loop.create_future()

        def note(_: object) -> None:
            # The loop may have been closed meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_wake, answered)

        call.add_done_callback(note)
        try:
            await answered
        except asyncio.CancelledError:
            call.cancel()
            raise
        return call.result()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _InThread:
    """Makes calls in a thread; its coroutines never suspend."""

    def __init__(self, options: dict[str, Any], sleep: Callable[[float], object]) -> None:
        self._options = options
        self._sleep = sleep

    async def attempt(self, method: Any, request: Any) -> Any:  # noqa: ANN401  # as in `Way`
        return method(request, **self._options)

    async def pause(self, seconds: float) -> None:
        self._sleep(seconds)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
