"""Owns the two kinds of the calls in `Calls`: methods that block, and methods that are awaited.

Both have the parameters and docstrings of the coroutines of `Calls`. A new call is a coroutine of
`Calls` and a line in each of the two classes.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, Unpack

from backlane.client.calls import Calls
from backlane.sdk.blocking import finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from backlane.client.filters import FindOptions
    from backlane.schema.named import Named
    from backlane.schema.records import BackgroundExecution, Status

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    call: Callable[Concatenate[Calls, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[BlockingCalls, P], T]:
    """Make a method of a client for threads from one of the calls."""

    @functools.wraps(call)
    def block(client: BlockingCalls, /, *args: P.args, **options: P.kwargs) -> T:
        return finish(call(client._calls, *args, **options))  # noqa: SLF001  # a method's own

    return block


def _awaitable(
    call: Callable[Concatenate[Calls, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[AwaitableCalls, P], Coroutine[Any, Any, T]]:
    """Make a method of a client for an event loop from one of the calls."""

    @functools.wraps(call)
    async def run(client: AwaitableCalls, /, *args: P.args, **options: P.kwargs) -> T:
        return await call(client._calls, *args, **options)  # noqa: SLF001  # a method's own

    return run


class BlockingCalls:
    """The calls as methods that block."""

    _calls: Calls

    get = _blocking(Calls.get)
    attempts = _blocking(Calls.attempts)
    wait = _blocking(Calls.wait)
    cancel = _blocking(Calls.cancel)
    task_record = _blocking(Calls.task_record)
    discard_dead_letters = _blocking(Calls.discard_dead_letters)
    explain = _blocking(Calls.explain)
    delete = _blocking(Calls.delete)
    execution_run = _blocking(Calls.execution_run)
    provide_input = _blocking(Calls.provide_input)
    pause = _blocking(Calls.pause)
    resume = _blocking(Calls.resume)
    peek = _blocking(Calls.peek)
    count = _blocking(Calls.count)
    stats = _blocking(Calls.stats)
    set_limits = _blocking(Calls.set_limits)
    limits = _blocking(Calls.limits)

    def list(
        self,
        *,
        status: Status | str | None = None,
        parent: Named | str | None = None,
        limit: int | None = None,
        full: bool = False,
        **options: Unpack[FindOptions],
    ) -> Iterator[BackgroundExecution]:
        """Yield executions, newest first, a page at a time as they are drawn.

        Args:
            status: the status to list; None for every one.
            parent: lists the children of this execution only.
            limit: how many at most; None for all.
            full: with input, output, context and metadata.
            options: which executions to list; see `FindOptions`.

        Raises:
            InvalidArgumentError: the filter cannot be read; the message points at the character.

        Example:
            for failed in client.list(status="failed", callable_name="mail.*", since=hour_ago):
                print(failed.execution_id, failed.error)
        """
        pages = self._calls.pages(status, limit, full=full, parent=parent, options=options)
        while not pages.is_over:
            yield from finish(pages.next())

    def dead_letters(
        self,
        *,
        callable_name: str | None = None,
        limit: int | None = None,
        full: bool = False,
    ) -> Iterator[BackgroundExecution]:
        """Yield what has failed or timed out and was not discarded, newest first.

        Args:
            callable_name: the callable to list; None for every one.
            limit: how many at most; None for all.
            full: with input, context and metadata.
        """
        pages = self._calls.dead_pages(callable_name, limit, full=full)
        while not pages.is_over:
            yield from finish(pages.next())


class AwaitableCalls:
    """The calls as coroutine methods."""

    _calls: Calls

    get = _awaitable(Calls.get)
    attempts = _awaitable(Calls.attempts)
    wait = _awaitable(Calls.wait)
    cancel = _awaitable(Calls.cancel)
    task_record = _awaitable(Calls.task_record)
    discard_dead_letters = _awaitable(Calls.discard_dead_letters)
    explain = _awaitable(Calls.explain)
    delete = _awaitable(Calls.delete)
    execution_run = _awaitable(Calls.execution_run)
    provide_input = _awaitable(Calls.provide_input)
    pause = _awaitable(Calls.pause)
    resume = _awaitable(Calls.resume)
    peek = _awaitable(Calls.peek)
    count = _awaitable(Calls.count)
    stats = _awaitable(Calls.stats)
    set_limits = _awaitable(Calls.set_limits)
    limits = _awaitable(Calls.limits)

    async def list(
        self,
        *,
        status: Status | str | None = None,
        parent: Named | str | None = None,
        limit: int | None = None,
        full: bool = False,
        **options: Unpack[FindOptions],
    ) -> AsyncIterator[BackgroundExecution]:
        """Yield executions, newest first, a page at a time; see `Client.list`."""
        pages = self._calls.pages(status, limit, full=full, parent=parent, options=options)
        while not pages.is_over:
            for execution in await pages.next():
                yield execution

    async def dead_letters(
        self,
        *,
        callable_name: str | None = None,
        limit: int | None = None,
        full: bool = False,
    ) -> AsyncIterator[BackgroundExecution]:
        """Yield what has failed or timed out, newest first; see `Client.dead_letters`."""
        pages = self._calls.dead_pages(callable_name, limit, full=full)
        while not pages.is_over:
            for execution in await pages.next():
                yield execution
