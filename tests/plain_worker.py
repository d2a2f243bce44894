"""A plain worker without the SDK, for crash tests and benchmarks. Handlers get the lease.

It is a book and a stream of `backlane.worker` with the barest crew, so that what it shows is about
the service.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backlane.channel import Endpoint
from backlane.schema.values import to_value
from backlane.v1 import worker_service_pb2 as api
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from backlane.worker.book import Book
from backlane.worker.report import report
from backlane.worker.stream import WorkStream

if TYPE_CHECKING:
    from backlane.worker.results import Result
    from backlane.worker.stream import Observer

Handler = Callable[[api.Lease], object]
"""Returns the output as JSON, or None for none; raises to fail."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The settings of a worker.

    Attributes:
        worker_id: its name, which it keeps over reconnects.
        tenant_ids: the tenants it serves; none means all.
        threads: how many handlers run at once; 0 runs them on the reading thread, for handlers
            that take microseconds.
        room: how many leases may wait or run here at once.
        lease_duration_ms: the silence that loses its leases, in milliseconds.
        drain_timeout_s: how long a drain may wait for handlers and answers, in seconds.
    """

    worker_id: str
    tenant_ids: Sequence[str] = ()
    threads: int = 4
    room: int = 16
    lease_duration_ms: int = 30_000
    drain_timeout_s: float = 30.0


class PlainWorker:
    """Leases executions of its handlers' callables and settles them, until it is drained."""

    def __init__(
        self,
        target: str,
        handlers: Mapping[str, Handler],
        options: Options,
        observe: Observer | None = None,
    ) -> None:
        """Make a worker; `run` starts it."""
        self._handlers = handlers
        self._options = options
        self._channel = Endpoint.of(target).open()
        self._book = Book(options.room, silence_s=options.lease_duration_ms / 3000)
        self._pool = ThreadPoolExecutor(max(1, options.threads), "handler")
        hello = api.WorkHello(
            worker_id=options.worker_id,
            callables=sorted(handlers),
            tenant_ids=options.tenant_ids,
            lease_duration_ms=options.lease_duration_ms,
        )
        stub = WorkerServiceStub(self._channel)
        self._stream = WorkStream(stub, hello, self._book, self, observe=observe)

    def drain(self) -> None:
        """Take no more leases; `run` returns when those that run have finished. Thread-safe."""
        cut = threading.Timer(self._options.drain_timeout_s, self._stream.cut)
        cut.daemon = True
        cut.start()
        self._book.drain()
        self._stream.hurry()

    def run(self) -> None:
        """Run until drained, and reconnect whenever the stream breaks."""
        with self._channel:
            self._stream.run()
        self._pool.shutdown(wait=self._book.is_empty, cancel_futures=True)

    def take_on(self, leases: Sequence[api.Lease]) -> None:
        """Run these."""
        if self._options.threads == 0:
            # The result follows in the same breath and says that the lease arrived.
            self._book.arrive(leases, acknowledge=False)
            self._book.settle([self._result(lease) for lease in leases])
            return
        self._book.arrive(leases)
        for lease in leases:
            self._pool.submit(self._run_one, lease)

    def cancel(self, tokens: Iterable[str]) -> None:
        """Do nothing: a result within the grace period counts."""

    def pause(self, tokens: Iterable[str]) -> None:
        """Do nothing: a result that comes meanwhile counts."""

    def lose(self, tokens: Iterable[str]) -> None:
        """Do nothing: the book drops the results."""

    def _run_one(self, lease: api.Lease) -> None:
        self._book.settle([self._result(lease)])

    def _result(self, lease: api.Lease) -> Result:
        try:
            output = self._handlers[lease.execution.callable_name](lease)
        except Exception as error:  # noqa: BLE001  # whatever a handler raises fails its attempt
            return report(lease, error)
        return api.CompleteResult(
            execution_id=lease.execution.execution_id,
            lease_token=lease.lease_token,
            output=None if output is None else to_value(output),
        )
