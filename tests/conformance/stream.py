"""The worker's side of a `Work` stream, for tests that send each message themselves."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, Self

from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import TIMEOUT_S, Door, ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class WorkStream:
    """An open stream; as a context manager it is cancelled at the end.

    Attributes:
        call: the call itself.
    """

    def __init__(self, door: Door) -> None:
        """Open the stream without sending a message."""
        self._door = door
        self._requests: queue.SimpleQueue[work.WorkRequest | None] = queue.SimpleQueue()
        self.call: Any = door.worker.Work(iter(self._requests.get, None), timeout=2 * TIMEOUT_S)
        self._responses: Iterator[work.WorkResponse] = self.call

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self.call.cancel()

    def say(self, **message: Any) -> None:  # noqa: ANN401  # one of the messages there are
        """Send one message."""
        self._requests.put(work.WorkRequest(**message))

    def half_close(self) -> None:
        """Half-close the stream."""
        self._requests.put(None)

    def hear(self, kind: str) -> Any:  # noqa: ANN401  # the message of that kind
        """Receive one message, which has to be of a kind."""
        response = next(self._responses)
        assert response.WhichOneof("message") == kind, response
        return getattr(response, kind)

    def rest(self) -> list[work.WorkResponse]:
        """Receive all messages until the stream ends."""
        return list(self._responses)

    def hello(
        self, worker: str = "w1", credit: int = 0, held: Sequence[work.Lease] = (), size: int = 0
    ) -> work.WorkWelcome:
        """Send a hello, and give credit."""
        hello = work.WorkHello(
            worker_id=worker,
            callables=["*"],
            tenant_ids=[self._door.tenant],
            held=map(ref, held),
        )
        self.say(hello=hello)
        welcome: work.WorkWelcome = self.hear("welcome")
        if credit:
            self.say(credit=work.WorkCredit(executions=credit, bytes=size))
        return welcome

    def leases(self, count: int) -> list[work.Lease]:
        """Receive that many leases, in any number of messages."""
        found: list[work.Lease] = []
        while len(found) < count:
            found.extend(self.hear("leases").leases)
        assert len(found) == count
        return found
