"""Owns the producers: unary, batch, stream and the SDK's clients. All survive server crashes.

The first three repeat by request id what was not answered; the SDK's clients do so by themselves.

Each runs on a thread of its own until it is told to stop, and leaves nothing unanswered. An error
that reaches a producer all the same is put down in the ledger, and ends it.
"""

import asyncio
import random
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence

from backlane import AsyncClient, AsyncHandle, Client, RawInput, Retry, errors
from backlane.v1 import execution_pb2 as records
from backlane.v1.execution_service_pb2 import (
    EnqueueOutcome,
    EnqueueRequest,
    EnqueueStreamRequest,
)
from tests.crash.ledger import Acknowledged, Ledger
from tests.plain_client import PlainClient, until_available

TENANT = "crash"
CALLABLE = "crash.checksum"
AWAY_S = 60.0
"""How long a server may be away, in seconds."""
UNFINISHED_MAX = 4_000
"""With this many unfinished executions producers pause, so that the test ends soon."""
QUICK = Retry(max_attempts=5, initial_delay=0.01, max_delay=0.05)
RETRY = records.BackgroundExecutionConfig(
    retry=records.RetryConfig(max_attempts=5, initial_delay_ms=10, max_delay_ms=50)
)


class Producer(ABC):
    """Enqueues on its own thread, and records the acknowledged enqueues."""

    def __init__(self, name: str, client: PlainClient | None, ledger: Ledger, seed: int) -> None:
        """Make a producer; `start` starts it."""
        self.name = name
        self._plain = client
        self.ledger = ledger
        self.random = random.Random(f"{name} {seed}")  # noqa: S311  # no secret
        self.stopping = threading.Event()
        self._made = 0
        self._thread = threading.Thread(target=self._run, name=f"producer-{name}")

    @property
    def client(self) -> PlainClient:
        """The plain client, for producers that use one."""
        assert self._plain is not None
        return self._plain

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Wait for the open calls and for the end of the thread."""
        self.stopping.set()
        self._thread.join(AWAY_S)
        assert not self._thread.is_alive()

    @abstractmethod
    def run(self) -> None:
        """Produce until told to stop."""

    def make(self, count: int) -> list[EnqueueRequest]:
        """Make items with inputs of random text and length."""
        return [self._make_one() for _ in range(count)]

    def _make_one(self) -> EnqueueRequest:
        self._made += 1
        size = self.random.choice((8, 200, 200, 200, 5000))
        text = f"{self.name} {self._made} {self.random.randbytes(size).hex()} ☃"
        return EnqueueRequest(
            tenant_id=TENANT,
            callable_name=CALLABLE,
            input=text,
            request_id=f"{self.name}-{self._made}",
            config=RETRY,
        )

    def _run(self) -> None:
        try:
            self.run()
        except* errors.BacklaneError as seen:
            for error in seen.exceptions:
                self.ledger.contradict(f"{self.name} saw {error!r}")


class SteadyProducer(Producer):
    """Makes one call after the other."""

    @abstractmethod
    def produce(self) -> None:
        """Enqueue a few executions, and return when they are answered."""

    def run(self) -> None:
        """Produce until told to stop."""
        while not self.stopping.is_set():
            self.produce()
            self.ledger.wait_for_room(UNFINISHED_MAX, AWAY_S)


class UnaryProducer(SteadyProducer):
    """Makes one `Enqueue` after the other, and repeats some that were answered."""

    def produce(self) -> None:
        """Enqueue one, once or twice."""
        item = self._make_one()
        for _ in range(self.random.choice((1, 1, 1, 2))):
            answer = until_available(
                lambda: self.client.enqueue(
                    CALLABLE, item.input, request_id=item.request_id, config=RETRY
                ),
                timeout_s=AWAY_S,
            )
            execution_id = answer.execution.execution_id
            self.ledger.acknowledge([Acknowledged(item.request_id, execution_id, item.input)])


class BatchProducer(SteadyProducer):
    """Makes one `EnqueueBatch` after the other, and repeats some that were answered."""

    def produce(self) -> None:
        """Enqueue one batch, once or twice."""
        items = self.make(self.random.randint(1, 100))
        request_id = items[0].request_id
        for item in items:
            item.ClearField("request_id")
        for _ in range(self.random.choice((1, 1, 1, 2))):
            answer = until_available(
                lambda: self.client.enqueue_batch(items, request_id=request_id), timeout_s=AWAY_S
            )
            results = zip(items, answer.results, strict=True)
            self.ledger.acknowledge(
                Acknowledged(f"{request_id}/{place}", result.execution.execution_id, item.input)
                for place, (item, result) in enumerate(results)
            )


class StreamProducer(Producer):
    """Uses one `EnqueueStream`. If it breaks, items without an answer are sent again."""

    WINDOW = 300
    """The most items without an answer."""

    def __init__(self, name: str, client: PlainClient, ledger: Ledger, seed: int) -> None:
        """Make a producer; `start` starts it."""
        super().__init__(name, client, ledger, seed)
        self._changed = threading.Condition()
        self._stream = 0
        self._unanswered: deque[EnqueueRequest] = deque()

    def _produce(self) -> None:
        """Run one stream until it breaks or the producer is stopped."""
        try:
            for outcome in self.client.enqueue_stream(self._begin_stream()):
                self._note(outcome)
        except (errors.UnavailableError, errors.CallCancelledError):
            return

    def run(self) -> None:
        """Produce until told to stop and everything is answered."""
        while not self.stopping.is_set() or self._unanswered:
            self._produce()

    def _begin_stream(self) -> Iterator[EnqueueStreamRequest]:
        with self._changed:
            self._stream += 1
            self._changed.notify_all()
            return self._messages(self._stream, list(self._unanswered))

    def _messages(
        self, stream: int, unanswered: list[EnqueueRequest]
    ) -> Iterator[EnqueueStreamRequest]:
        if unanswered:
            yield EnqueueStreamRequest(items=unanswered)
        while items := self._next_items(stream):
            yield EnqueueStreamRequest(items=items)

    def _next_items(self, stream: int) -> list[EnqueueRequest]:
        """Make items when the window has room; none if the stream has ended."""
        self.ledger.wait_for_room(UNFINISHED_MAX, AWAY_S)
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(stream) or self._has_room(), AWAY_S)
            if self._is_over(stream):
                return []
            items = self.make(self.random.randint(1, 20))
            self._unanswered.extend(items)
            return items

    def _is_over(self, stream: int) -> bool:
        # An older stream's sender may still wait here, and has to take nothing from the newer.
        return stream != self._stream or self.stopping.is_set()

    def _has_room(self) -> bool:
        return len(self._unanswered) < self.WINDOW

    def _note(self, outcome: EnqueueOutcome) -> None:
        with self._changed:
            item = self._unanswered.popleft()
            self._changed.notify_all()
        if outcome.HasField("result"):
            execution_id = outcome.result.execution_id
            self.ledger.acknowledge([Acknowledged(item.request_id, execution_id, item.input)])
        else:
            self.ledger.contradict(f"{item.request_id} was refused: {outcome.status.message}")

    def stop(self) -> None:
        """Wait for the open calls and for the end of the thread."""
        self.stopping.set()
        with self._changed:
            self._changed.notify_all()
        super().stop()


class ClientProducer(SteadyProducer):
    """Uses the SDK's client, which handles crashes itself, with one or many per call."""

    def __init__(self, name: str, client: Client, ledger: Ledger, seed: int) -> None:
        """Make a producer; `start` starts it."""
        super().__init__(name, None, ledger, seed)
        self._client = client

    def produce(self) -> None:
        """Enqueue some executions, and record the ids that the client returns."""
        items = self.make(self.random.choice((1, 3, 40, 700)))
        texts = [RawInput(item.input) for item in items]
        if len(items) > 3:
            request_id = f"{items[0].request_id}-many"
            made = self._client.enqueue_many(CALLABLE, texts, retry=QUICK, request_id=request_id)
            ids = [f"{request_id}-{place}" for place in range(1, len(items) + 1)]
        else:
            ids = [item.request_id for item in items]
            made = [
                self._client.enqueue(CALLABLE, text, retry=QUICK, request_id=request_id)
                for text, request_id in zip(texts, ids, strict=True)
            ]
        self.ledger.acknowledge(
            Acknowledged(request_id, handle.execution_id, str(text))
            for request_id, handle, text in zip(ids, made, texts, strict=True)
        )


class AsyncProducer(Producer):
    """Uses the SDK's asynchronous client as most programs do: with its defaults, in many tasks."""

    TASKS = 16
    MANY = 700

    def __init__(self, name: str, target: str, ledger: Ledger, seed: int) -> None:
        """Make a producer; `start` starts it."""
        super().__init__(name, None, ledger, seed)
        self._target = target

    def run(self) -> None:
        """Produce until told to stop, in an event loop."""
        asyncio.run(self._produce())

    async def _produce(self) -> None:
        async with AsyncClient(self._target, tenant=TENANT) as client, asyncio.TaskGroup() as tasks:
            for _ in range(self.TASKS):
                tasks.create_task(self._one_by_one(client))
            tasks.create_task(self._many(client))

    async def _one_by_one(self, client: AsyncClient) -> None:
        while not self.stopping.is_set():
            [item] = self.make(1)
            handle = await client.enqueue(CALLABLE, RawInput(item.input), retry=QUICK)
            self._note([item], [handle])
            await self._wait_for_room()

    async def _many(self, client: AsyncClient) -> None:
        while not self.stopping.is_set():
            items = self.make(self.MANY)
            texts = [RawInput(item.input) for item in items]
            self._note(items, await client.enqueue_many(CALLABLE, texts, retry=QUICK))
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        await asyncio.to_thread(self.ledger.wait_for_room, UNFINISHED_MAX, AWAY_S)

    def _note(
        self, items: Sequence[EnqueueRequest], handles: Sequence[AsyncHandle[object]]
    ) -> None:
        self.ledger.acknowledge(
            Acknowledged(item.request_id, handle.execution_id, item.input)
            for item, handle in zip(items, handles, strict=True)
        )
