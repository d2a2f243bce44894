"""The pipe of a client for an event loop, over a stream that the test answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from backlane import errors
from backlane.client.loop_pipe import HALF_LEAST, Deadlines, LoopPipe
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backlane.client.outbox import Outcome

PATIENCE_S = 30.0
CALLERS = 4 * HALF_LEAST


class Stream:
    """A call that keeps the messages it is given."""

    def __init__(self) -> None:
        """Begin without a message."""
        self._messages: asyncio.Queue[int] = asyncio.Queue()
        self._answers: asyncio.Queue[api.EnqueueStreamResponse] = asyncio.Queue()

    async def write(self, encoded: bytes) -> None:
        self._messages.put_nowait(len(api.EnqueueStreamRequest.FromString(encoded).items))

    def cancel(self) -> None:
        pass

    def __aiter__(self) -> Stream:
        """Return itself."""
        return self

    async def __anext__(self) -> api.EnqueueStreamResponse:
        """Wait for the next answer."""
        return await self._answers.get()

    async def sizes(self, count: int) -> list[int]:
        """How many items the next messages have, so many messages."""
        async with asyncio.timeout(PATIENCE_S):
            return [await self._messages.get() for _ in range(count)]

    def answer(self, count: int) -> None:
        """Answer the oldest items, so many."""
        outcome = api.EnqueueOutcome(result=api.EnqueueResult(execution_id="e"))
        self._answers.put_nowait(api.EnqueueStreamResponse(outcomes=[outcome] * count))


@asynccontextmanager
async def busy(callers: int) -> AsyncIterator[Stream]:
    """A stream on which so many callers enqueue, one execution after another each."""
    stream = Stream()
    pipe = LoopPipe(lambda: stream, waits=True)
    encoded = api.EnqueueStreamRequest(items=[api.EnqueueRequest()]).SerializeToString()

    async def call() -> Outcome:
        while True:
            outcomes = await (await pipe.hand_in(encoded, 1, PATIENCE_S)).outcomes()
            assert outcomes is not None
            if isinstance(outcomes[0], errors.CallCancelledError):
                return outcomes[0]

    calls = [asyncio.create_task(call()) for _ in range(callers)]
    yield stream
    await pipe.close()
    ends = await asyncio.gather(*calls)
    assert len(ends) == callers


async def test_callers_who_are_answered_together_enqueue_in_two_halves() -> None:
    async with busy(CALLERS) as stream:
        assert await stream.sizes(1) == [CALLERS]
        stream.answer(CALLERS)

        assert await stream.sizes(2) == [CALLERS // 2, CALLERS // 2]


async def test_callers_are_not_divided_while_the_server_has_other_work() -> None:
    async with busy(CALLERS) as stream:
        await stream.sizes(1)
        stream.answer(CALLERS)
        await stream.sizes(2)
        stream.answer(CALLERS // 2)

        assert await stream.sizes(1) == [CALLERS // 2]


async def test_few_callers_are_not_divided() -> None:
    few = 2 * HALF_LEAST - 1
    async with busy(few) as stream:
        await stream.sizes(1)
        stream.answer(few)

        assert await stream.sizes(1) == [few]


async def test_whoever_waits_is_woken_at_the_deadline_and_nobody_else() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines()
    futures: list[asyncio.Future[None]] = [loop.create_future() for _ in range(4)]
    late = [loop.time() + seconds for seconds in (1000.0, 0.0, 2000.0, 0.01)]
    waits = [
        asyncio.create_task(deadlines.wait(future, deadline))
        for future, deadline in zip(futures, late, strict=True)
    ]

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(waits[1], waits[3])
    assert [wait.done() for wait in waits] == [False, True, False, True]
    futures[0].set_result(None)
    futures[2].set_result(None)
    await asyncio.gather(*waits)
    deadlines.close()


async def test_what_is_done_already_is_not_waited_for() -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    wait = Deadlines().wait(done, 0.0)

    try:
        wait.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")
