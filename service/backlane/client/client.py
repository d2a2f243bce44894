"""Owns `Client`: the producers' calls for programs with threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload

from backlane.client.call_kinds import BlockingCalls
from backlane.client.connection import ThreadConnection
from backlane.client.graph import GraphHandles
from backlane.client.handle import Handle
from backlane.client.redrive_many import RedriveMany
from backlane.client.settings import ClientBase
from backlane.schema.options import ABSENT
from backlane.sdk.blocking import finish
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


class Client(ClientBase, BlockingCalls):
    """The calls of a producer, for one tenant. Safe to use from many threads, but not after a fork.

    Enqueues of all threads share one stream; those that come in while a message is written go
    together in the next one. Each enqueue carries a request_id, so that every call is safe to
    repeat, and is repeated while the server is away, until its time is over.

    Example:
        with Client(tenant="acme") as client:
            handle = client.enqueue("mail.send", {"to": "ada"}, delay=3600, priority=90)
            assert handle.get().status == "queued"
            assert handle.cancel().status == "cancelled"
    """

    _connection_kind = ThreadConnection

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the channel; calls in progress end as cancelled. After a fork it does nothing."""
        finish(self._connection.close())

    @overload
    def handle(
        self, execution_id: str, called: Takes[Any, O] | TakesNothing[O], /
    ) -> Handle[O]: ...
    @overload
    def handle(self, execution_id: str, called: str | None = None, /) -> Handle[Any]: ...
    def handle(self, execution_id: str, called: object = None, /) -> Handle[Any]:
        """Return a handle to an execution by its id; nothing is asked of the server.

        Args:
            execution_id: the execution's id.
            called: its callable, which gives the type of the result. With a name, or without it,
                the result is JSON. It is not checked that the execution is one of this callable.
        """
        target = None if called is None else resolve(called, ABSENT)[1]
        return Handle(self._calls, execution_id, target, existing=True)

    @overload
    def enqueue(
        self, called: Takes[I, O], given: I, /, **options: Unpack[EnqueueOptions]
    ) -> Handle[O]: ...
    @overload
    def enqueue(
        self, called: TakesNothing[O], /, **options: Unpack[EnqueueOptions]
    ) -> Handle[O]: ...
    @overload
    def enqueue(
        self, called: str, given: object = ABSENT, /, **options: Unpack[EnqueueOptions]
    ) -> Handle[Any]: ...
    def enqueue(
        self, called: object, given: object = ABSENT, /, **options: Unpack[EnqueueOptions]
    ) -> Handle[Any]:
        """Enqueue one execution, durably, and return a handle to it.

        Args:
            called: the callable's name, or the decorated function, which brings its types and
                its defaults.
            given: its input: anything that pydantic turns into JSON and back, or a `RawInput`.
            options: see `EnqueueOptions`.

        Raises:
            InvalidInputError: input or options cannot be sent; nothing was.
            BacklaneError: the server refused it, or cannot be reached.
        """
        return finish(self._enqueues.enqueue(called, given, options, Handle))

    def redrive(
        self,
        execution: Named | str,
        given: object = ABSENT,
        /,
        **options: Unpack[RedriveOptions],
    ) -> Handle[Any]:
        """Run an execution that failed, timed out or was cancelled once more, as a new one.

        The old record stays as it is. An execution has one unfinished redrive at most: a handle to
        it is returned, with `existing` set, as long as there is one.

        Args:
            execution: a handle or an id.
            given: another input; without it the new execution has the old one, and the steps that
                the old one completed. The callable, context, metadata and `dedup_key` are always
                the old ones, and there are no times.
            options: see `RedriveOptions`.

        Raises:
            TransitionNotAllowedError: it is unfinished, or has completed.
            ExecutionNotFoundError: this tenant has none of that id.
            AlreadyExistsError: another unfinished execution has its `dedup_key`.
            InvalidArgumentError: too many were skipped for `with_dependents`.
            DataDamagedError: its input or a step is damaged on the server's disk.
        """
        reply = finish(self._calls.redriven(execution, given, options))
        return Handle(
            self._calls,
            reply.execution.execution_id,
            None,
            existing=reply.existing,
            dependent_ids=tuple(reply.dependent_ids),
        )

    def redrive_many(self, **options: Unpack[RedriveManyOptions]) -> RedriveMany:
        """Run many dead letters once more, the newest first, each as `redrive` does.

        Nothing happens until the outcomes are drawn. One that is refused is an outcome as well. A
        run that broke off can be repeated with its name within 24 hours, and makes nothing twice.

        Args:
            options: which of them, and how; see `RedriveManyOptions`.

        Raises:
            InvalidInputError: an option cannot be used.

        Example:
            for outcome in client.redrive_many(callable_name="charge", rate=20):
                print(outcome.execution.execution_id, outcome.redriven_as or outcome.error)
        """
        return RedriveMany(self._calls, options)

    @overload
    def enqueue_many(
        self,
        called: Takes[I, O],
        inputs: Iterable[I],
        /,
        *,
        return_exceptions: Literal[False] = False,
        **options: Unpack[EnqueueOptions],
    ) -> builtins.list[Handle[O]]: ...
    @overload
    def enqueue_many(
        self,
        called: Takes[I, O],
        inputs: Iterable[I],
        /,
        *,
        return_exceptions: Literal[True],
        **options: Unpack[EnqueueOptions],
    ) -> builtins.list[Handle[O] | Exception]: ...
    @overload
    def enqueue_many(
        self,
        called: str,
        inputs: Iterable[object],
        /,
        *,
        return_exceptions: Literal[False] = False,
        **options: Unpack[EnqueueOptions],
    ) -> builtins.list[Handle[Any]]: ...
    @overload
    def enqueue_many(
        self,
        called: str,
        inputs: Iterable[object],
        /,
        *,
        return_exceptions: Literal[True],
        **options: Unpack[EnqueueOptions],
    ) -> builtins.list[Handle[Any] | Exception]: ...
    def enqueue_many(
        self,
        called: object,
        inputs: Iterable[object],
        /,
        *,
        return_exceptions: bool = False,
        **options: Unpack[EnqueueOptions],
    ) -> builtins.list[Handle[Any]] | builtins.list[Handle[Any] | Exception]:
        """Enqueue one execution for each input, and return their handles in order.

        They go over the stream in large messages, several on their way at once, drawn from
        `inputs` as they are sent. A list of 50 to 500 goes in one call instead, unless there is a
        `request_id` or a `dedup_key`. Each is made or refused by itself. With a `request_id` each
        has one of its own that begins with it, so that the whole can be repeated.

        Args:
            called: as `enqueue` has it.
            inputs: one input each.
            return_exceptions: return the errors of refused ones in their places, instead of
                raising. The list is shorter than `inputs` where the server could not be reached.
            options: of every one of them.

        Raises:
            EnqueueManyError: some were refused; its `outcomes` hold every handle and error. Where
                the server could not be reached any more they end there.
        """
        return finish(
            self._enqueues.enqueue_many(
                called, inputs, options, Handle, return_exceptions=return_exceptions
            )
        )

    def enqueue_graph(
        self,
        graph: Graph,
        /,
        *,
        request_id: str | None = None,
        call_timeout: float | timedelta | None = None,
    ) -> GraphHandles:
        """Enqueue all executions of a graph in one call, and return their handles by node.

        All of them are made or none.

        Args:
            graph: at most 10 000 executions and 16 MiB.
            request_id: enqueues with the same id within 24 hours make one graph; generated by
                default.
            call_timeout: how long the call may take, in seconds; the client's setting by default.

        Raises:
            InvalidArgumentError: the graph breaks a rule; the message names the node's field.
            BacklaneError: the server refused it, or cannot be reached.
        """
        enqueues = self._enqueues
        handles, existing = finish(
            enqueues.enqueue_graph(
                graph, Handle[Any], request_id=request_id, call_timeout=call_timeout
            )
        )
        return GraphHandles(graph, handles, existing=existing)

    @overload
    def run(
        self,
        called: Takes[I, O],
        given: I,
        /,
        *,
        wait_timeout: float | timedelta | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> O: ...
    @overload
    def run(
        self,
        called: TakesNothing[O],
        /,
        *,
        wait_timeout: float | timedelta | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> O: ...
    @overload
    def run(
        self,
        called: str,
        given: object = ABSENT,
        /,
        *,
        wait_timeout: float | timedelta | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Any: ...  # noqa: ANN401  # JSON of any kind
    def run(
        self,
        called: object,
        given: object = ABSENT,
        /,
        *,
        wait_timeout: float | timedelta | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Any:  # the callable's own type
        """Enqueue, wait for the end, and return the output; mode `silent` unless told.

        The execution goes on if this process ends; repeat it with a `request_id` to wait again.

        Args:
            called: as `enqueue` has it.
            given: as `enqueue` has it.
            wait_timeout: how long to wait for the result, in seconds; None waits for ever.
            options: as `enqueue` has them.

        Raises:
            ExecutionEndedError: it failed, was cancelled, or timed out.
            NotFinishedError: the time is over; a `TimeoutError`.
            InvalidInputError: input or options cannot be sent; nothing was.
            BacklaneError: the server refused it, or cannot be reached.
        """
        return finish(self._enqueues.run(called, given, options, wait_timeout))
