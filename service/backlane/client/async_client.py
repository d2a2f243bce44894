"""Owns `AsyncClient`: the producers' calls for programs with an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload

from backlane.client.call_kinds import AwaitableCalls
from backlane.client.connection import LoopConnection
from backlane.client.graph import AsyncGraphHandles
from backlane.client.handle import AsyncHandle
from backlane.client.redrive_many import AsyncRedriveMany
from backlane.client.settings import ClientBase
from backlane.schema.options import ABSENT
from backlane.sdk.target import resolve

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable
    from datetime import timedelta
    from types import TracebackType

    from backlane.client.graph import Graph
    from backlane.schema.named import Named
    from backlane.schema.options import EnqueueOptions, RedriveManyOptions, RedriveOptions
    from backlane.sdk.target import Takes, TakesNothing

I = TypeVar("I")  # noqa: E741  # the input's type
O = TypeVar("O")  # noqa: E741  # the output's type


class AsyncClient(ClientBase, AwaitableCalls):
    """The calls of a producer, for one tenant, in one event loop.

    Enqueues of all tasks share one stream; those that come in while a message is written go
    together in the next one. Each enqueue carries a request_id, so that every call is safe to
    repeat, and is repeated while the server is away, until its time is over. If a task is
    cancelled while it enqueues, its execution may have been enqueued all the same.

    Example:
        async with AsyncClient(tenant="acme") as client:
            handle = await client.enqueue("mail.send", {"to": "ada"}, delay=3600)
            assert (await handle.get()).status == "queued"
            assert (await handle.cancel()).status == "cancelled"
    """

    _connection_kind = LoopConnection

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls in progress end as cancelled. After a fork it does nothing."""
        await self._connection.close()

    @overload
    def handle(
        self, execution_id: str, called: Takes[Any, O] | TakesNothing[O], /
    ) -> AsyncHandle[O]: ...
    @overload
    def handle(self, execution_id: str, called: str | None = None, /) -> AsyncHandle[Any]: ...
    def handle(self, execution_id: str, called: object = None, /) -> AsyncHandle[Any]:
        """Return a handle to an execution by its id; see `Client.handle`."""
        target = None if called is None else resolve(called, ABSENT)[1]
        return AsyncHandle(self._calls, execution_id, target, existing=True)

    @overload
    async def enqueue(
        self, called: Takes[I, O], given: I, /, **options: Unpack[EnqueueOptions]
    ) -> AsyncHandle[O]: ...
    @overload
    async def enqueue(
        self, called: TakesNothing[O], /, **options: Unpack[EnqueueOptions]
    ) -> AsyncHandle[O]: ...
    @overload
    async def enqueue(
        self, called: str, given: object = ABSENT, /, **options: Unpack[EnqueueOptions]
    ) -> AsyncHandle[Any]: ...
    async def enqueue(
        self, called: object, given: object = ABSENT, /, **options: Unpack[EnqueueOptions]
    ) -> AsyncHandle[Any]:
        """Enqueue one execution, durably, and return a handle to it; see `Client.enqueue`."""
        return await self._enqueues.enqueue(called, given, options, AsyncHandle)

    async def redrive(
        self,
        execution: Named | str,
        given: object = ABSENT,
        /,
        **options: Unpack[RedriveOptions],
    ) -> AsyncHandle[Any]:
        """Run an execution that is over once more, as a new one; see `Client.redrive`."""
        reply = await self._calls.redriven(execution, given, options)
        return AsyncHandle(
            self._calls,
            reply.execution.execution_id,
            None,
            existing=reply.existing,
            dependent_ids=tuple(reply.dependent_ids),
        )

    def redrive_many(self, **options: Unpack[RedriveManyOptions]) -> AsyncRedriveMany:
        """Run many dead letters once more, the newest first; see `Client.redrive_many`."""
        return AsyncRedriveMany(self._calls, options)

    @overload
    async def enqueue_many(
        self,
        called: Takes[I, O],
        inputs: Iterable[I],
        /,
        *,
        return_exceptions: Literal[False] = False,
        **options: Unpack[EnqueueOptions],
    ) -> builtins.list[AsyncHandle[O]]: ...
    @overload
    async def enqueue_many(
        self,
        called: Takes[I, O],
        inputs: Iterable[I],
        /,
        *,
        return_exceptions: Literal[True],
        **options: Unpack[EnqueueOptions],
    ) -> builtins.list[AsyncHandle[O] | Exception]: ...
    @overload
    async def enqueue_many(
        self,
        called: str,
        inputs: Iterable[object],
        /,
        *,
        return_exceptions: Literal[False] = False,
        **options: Unpack[EnqueueOptions],
    ) -> builtins.list[AsyncHandle[Any]]: ...
    @overload
    async def enqueue_many(
        self,
        called: str,
        inputs: Iterable[object],
        /,
        *,
        return_exceptions: Literal[True],
        **options: Unpack[EnqueueOptions],
    ) -> builtins.list[AsyncHandle[Any] | Exception]: ...
    async def enqueue_many(
        self,
        called: object,
        inputs: Iterable[object],
        /,
        *,
        return_exceptions: bool = False,
        **options: Unpack[EnqueueOptions],
    ) -> builtins.list[AsyncHandle[Any]] | builtins.list[AsyncHandle[Any] | Exception]:
        """Enqueue one execution for each input, and return their handles in order.

        Other tasks have their turn after each message; see `Client.enqueue_many`.
        """
        return await self._enqueues.enqueue_many(
            called, inputs, options, AsyncHandle, return_exceptions=return_exceptions
        )

    async def enqueue_graph(
        self,
        graph: Graph,
        /,
        *,
        request_id: str | None = None,
        call_timeout: float | timedelta | None = None,
    ) -> AsyncGraphHandles:
        """Enqueue all executions of a graph in one call; see `Client.enqueue_graph`."""
        enqueues = self._enqueues
        handles, existing = await enqueues.enqueue_graph(
            graph, AsyncHandle[Any], request_id=request_id, call_timeout=call_timeout
        )
        return AsyncGraphHandles(graph, handles, existing=existing)

    @overload
    async def run(
        self,
        called: Takes[I, O],
        given: I,
        /,
        *,
        wait_timeout: float | timedelta | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> O: ...
    @overload
    async def run(
        self,
        called: TakesNothing[O],
        /,
        *,
        wait_timeout: float | timedelta | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> O: ...
    @overload
    async def run(
        self,
        called: str,
        given: object = ABSENT,
        /,
        *,
        wait_timeout: float | timedelta | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Any: ...  # noqa: ANN401  # JSON of any kind
    async def run(
        self,
        called: object,
        given: object = ABSENT,
        /,
        *,
        wait_timeout: float | timedelta | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Any:  # the callable's own type
        """Enqueue, wait for the end, and return the output; see `Client.run`."""
        return await self._enqueues.run(called, given, options, wait_timeout)
