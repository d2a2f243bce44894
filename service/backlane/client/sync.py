"""Owns `Client`: the producers' calls for programs with threads."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, cast, overload

from backlane.client.base import SLICES_IN_FLIGHT, checked, completed, is_cut_off, put_together
from backlane.client.follow import Follower
from backlane.client.handle import Handle
from backlane.client.pipe import Pipe
from backlane.client.target import load
from backlane.client.times import Slices
from backlane.schema.options import ABSENT
from backlane.schema.records import BackgroundExecution
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Iterator
    from datetime import timedelta

    from backlane.client.base import Slice
    from backlane.client.pipe import HandedIn
    from backlane.client.target import Takes, TakesNothing, Target
    from backlane.schema.options import EnqueueOptions

    Waiting = deque[tuple[Slice, HandedIn]]

I = TypeVar("I")  # noqa: E741  # the input's type
O = TypeVar("O")  # noqa: E741  # the output's type


class Client(Follower):
    """The calls of a producer, for one tenant. Safe to use from many threads, but not after a fork.

    Enqueues of all threads share one stream, in which what gathers meanwhile is one message. What
    creates carries a request_id, so that every call is safe to repeat, and is repeated while the
    server is away, until its time is over.

    Example:
        with Client(tenant="acme") as client:
            handle = client.enqueue("mail.send", {"to": "ada"}, delay=3600, priority=90)
            assert handle.get().status == "queued"
            assert handle.cancel().status == "cancelled"
    """

    def _open(self) -> None:
        super()._open()
        self._pipe = Pipe(self._open_stream, waits=self._waits)

    def close(self) -> None:
        """Close the channel; calls in progress end as cancelled. After a fork it does nothing."""
        if not self._is_forked:
            self._pipe.close()
        super().close()

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
            given: its input: anything that pydantic turns into JSON, or a `RawInput`.
            options: see `EnqueueOptions`.

        Raises:
            InvalidInputError: input or options cannot be sent; nothing was.
            BacklaneError: the server refused it, or cannot be reached.
        """
        ready = self._prepare(called, given, options)
        outcomes = self._pipe.send([ready.request], ready.size, ready.timeout_s)
        if outcomes is None:
            raise self._caller.late(ready.timeout_s)
        [made] = self._handled(outcomes, ready.target, Handle)
        if isinstance(made, Exception):
            raise made
        return cast("Handle[Any]", made)

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
        `inputs` as they are sent. Each is made or refused by itself. With a `request_id` each
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
        target, timeout_s, slices = self._slices(called, inputs, options)
        waiting: Waiting = deque()
        outcomes: builtins.list[Any] = []
        try:
            for part in slices:
                handed_in = self._pipe.hand_in(part.requests, part.size, timeout_s)
                waiting.append((part, handed_in))
                is_over = handed_in.is_late
                if len(waiting) >= SLICES_IN_FLIGHT:
                    is_over = not self._note(waiting.popleft(), target, timeout_s, outcomes)
                if is_over:
                    break
            while waiting:
                self._note(waiting.popleft(), target, timeout_s, outcomes)
        finally:
            for _, handed_in in waiting:
                handed_in.abandon()
        return checked(outcomes, return_exceptions=return_exceptions)

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
        ready = self._prepare(called, given, options)
        slices = Slices(wait_timeout)
        request = api.RunRequest(enqueue=ready.request)
        answer = self._call(self._stub.Run, request, ready.timeout_s, slices)
        execution = BackgroundExecution(answer.execution)
        if not execution.is_finished:
            # Not `Run` once more: a wait may be longer than a server remembers a request id.
            execution = self._finished(execution.execution_id, slices)
        return load(ready.target, completed(execution).output)

    def _note(
        self,
        waited: tuple[Slice, HandedIn],
        target: Target | None,
        timeout_s: float,
        into: builtins.list[Any],
    ) -> bool:
        """Wait for one slice, note what became of it, and return whether more may be sent."""
        part, handed_in = waited
        outcomes = handed_in.wait()
        if outcomes is None:
            outcomes = [self._caller.late(timeout_s)] * len(part.requests)
        into += self._handled(put_together(part, outcomes), target, Handle)
        return not is_cut_off(outcomes)

    def _open_stream(self, messages: Iterator[api.EnqueueStreamRequest]) -> Any:  # noqa: ANN401
        return self._stub.EnqueueStream(
            messages, metadata=self.endpoint.metadata, wait_for_ready=self._waits
        )
