"""Both clients behind one face, so that a test of what they promise is written once.

`AsyncClient` runs in a loop on a thread of its own; what it answers is waited for.
"""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from backlane import AsyncClient, AsyncHandle, Client
from backlane.client import AsyncRedriveMany

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS: Final = ("threads", "loop")
PATIENCE_S: Final = 30
"""How long anything may take, in seconds."""


class _Waiting:
    """An object of an event loop, whose methods block until their coroutines are done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, inner: Any) -> None:  # noqa: ANN401
        self._loop = loop
        self._inner = inner

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the inner one has
        attribute = getattr(self._inner, name)
        return self._blocking(attribute) if inspect.ismethod(attribute) else attribute

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: object, **options: object) -> Any:  # noqa: ANN401  # as the method
            coroutine = _finish(method(*args, **options))
            return self._wrap(asyncio.run_coroutine_threadsafe(coroutine, self._loop).result())

        return call

    def _wrap(self, answer: Any) -> Any:  # noqa: ANN401  # as the method
        if isinstance(answer, list):
            return [self._wrap(part) for part in answer]
        return _Waiting(self._loop, answer) if isinstance(answer, AsyncHandle) else answer


async def _finish(answer: Any) -> Any:  # noqa: ANN401  # whatever a method answers
    if isinstance(answer, AsyncRedriveMany):
        # Drawn again, it makes nothing twice.
        return [part async for part in answer]
    if inspect.isasyncgen(answer):
        return [part async for part in answer]
    return await answer if inspect.isawaitable(answer) else answer


@contextmanager
def open_client(
    kind: str,
    target: str,
    tenant: str,
    **settings: Any,  # noqa: ANN401  # those of a client
) -> Iterator[Client]:
    """Open a client of a kind for the block; that of a loop is used as if it were the other."""
    if kind == "threads":
        with Client(target, tenant=tenant, **settings) as client:
            yield client
        return
    with running_loop() as loop:

        async def make() -> AsyncClient:
            return AsyncClient(target, tenant=tenant, **settings)

        waiting = _Waiting(loop, asyncio.run_coroutine_threadsafe(make(), loop).result())
        try:
            yield cast("Client", waiting)
        finally:
            waiting.close()


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop on a thread of its own during the block."""
    with ThreadPoolExecutor(1, "loop-of-a-test") as pool:
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def stay() -> None:
            over = asyncio.Event()
            started.set_result((asyncio.get_running_loop(), over))
            await over.wait()

        running = pool.submit(asyncio.run, stay())
        loop, over = started.result(PATIENCE_S)
        try:
            yield loop
        finally:
            loop.call_soon_threadsafe(over.set)
            running.result(PATIENCE_S)
