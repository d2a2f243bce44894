"""A plain worker of the protocol, on one `Work` stream and a few threads.

Handlers are plain functions from a lease to a value. The stream is served by threads of its own:
gRPC's sender draws messages, heartbeats among them, from the book, so that a busy handler silences
nothing; the thread that calls `run` reads. A stream that breaks is opened again and keeps its
leases; a result is said until the server answered it.
"""

from __future__ import annotations

import json
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from backlane import errors
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from backlane.worker.book import Book, results_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.rpc import status_pb2

    from backlane.worker.book import Result

Handler = Callable[[api.Lease], Any]
"""Answers a `Value`, anything that JSON can say, or None for no output; raises to fail."""
Observer = Callable[[api.WorkRequest, api.WorkOutcomes], None]
"""Is told each message of results and the server's answer to it, item by item in order."""

BACKOFF_FIRST_S: Final = 0.05
BACKOFF_LAST_S: Final = 1.0
MESSAGE_CHARACTERS_MAX: Final = 2000
CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 20 << 20),
    ("grpc.max_send_message_length", 20 << 20),
    # gRPC's own backoff starts at a second; leases survive a broken stream for five.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a worker works.

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
        """Make a worker; `run` starts it.

        Args:
            target: the server's address, `host:port`.
            handlers: one function per callable name.
            options: how it works.
            observe: called on the reading thread with every answer of the server.
        """
        self._target = target
        self._handlers = dict(handlers)
        self._options = options
        self._observe = observe
        # Three messages in each lease period: one may be late and one lost.
        self._book = Book(options.room, options.lease_duration_ms / 3000)
        self._pool = ThreadPoolExecutor(max(1, options.threads), "backlane-handler")
        self._drain_deadline = math.inf
        self._is_welcome = False
        self._cancel_stream: Callable[[], object] = bool

    def drain(self) -> None:
        """Take nothing more, finish what runs, give back the rest; then `run` returns.

        May be called from any thread, and from a signal's handler on the thread in `run`.
        """
        if not self._book.is_draining:
            self._drain_deadline = time.monotonic() + self._options.drain_timeout_s
            self._book.drain()
            cut = threading.Timer(self._options.drain_timeout_s, self._cut_stream)
            cut.daemon = True
            cut.start()
            self._cut_idle_stream()

    def run(self) -> None:
        """Work until drained, over as many streams as it takes."""
        backoff_s = BACKOFF_FIRST_S
        with grpc.insecure_channel(self._target, options=CHANNEL_OPTIONS) as channel:
            stub = WorkerServiceStub(channel)
            while not self._is_done():
                self._serve_stream(stub)
                backoff_s = min(backoff_s * 2, BACKOFF_LAST_S)
                if self._is_welcome:
                    backoff_s = BACKOFF_FIRST_S
                if not self._is_done():
                    # Jitter, so that a server's restart is not met by all workers at once.
                    time.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
        self._pool.shutdown(wait=self._book.is_empty, cancel_futures=True)

    def _is_done(self) -> bool:
        if not self._book.is_draining:
            return False
        return self._book.is_empty or time.monotonic() >= self._drain_deadline

    def _cut_stream(self) -> None:
        self._cancel_stream()

    def _cut_idle_stream(self) -> None:
        """End a stream that waits for a server that is away, where nothing is left to say."""
        if self._is_done() and not self._is_welcome:
            self._cancel_stream()

    def _serve_stream(self, stub: WorkerServiceStub) -> None:
        """Serve one stream until it ends."""
        self._is_welcome = False
        # Without `wait_for_ready` a stream to a server that restarts fails at once, and between
        # such streams gRPC looks at its sockets only every 5 s: too late for the leases held.
        call = stub.Work(self._book.begin_stream(self._hello()), wait_for_ready=True)
        self._cancel_stream = call.cancel
        self._cut_idle_stream()
        try:
            for response in call:
                self._is_welcome = True
                self._receive(response)
        except grpc.RpcError as error:
            log.info("%s: stream ended: %s", self._options.worker_id, errors.from_rpc_error(error))
        finally:
            self._book.give_up_stream()

    def _hello(self) -> api.WorkHello:
        return api.WorkHello(
            worker_id=self._options.worker_id,
            callables=sorted(self._handlers),
            tenant_ids=self._options.tenant_ids,
            lease_duration_ms=self._options.lease_duration_ms,
        )

    def _receive(self, response: api.WorkResponse) -> None:
        match response.WhichOneof("message"):
            case "leases":
                self._take_on(response.leases.leases)
            case "outcomes":
                self._note_outcomes(response.outcomes)
            case "welcome":
                self._book.welcome(response.welcome.held)
            case "cancels":
                self._book.cancel(response.cancels.leases)
            case "lost":
                self._book.lose(response.lost.leases)
            case "drain":
                self._book.server_drains()
            case _:
                log.warning("%s: message of an unknown kind", self._options.worker_id)

    def _take_on(self, leases: Iterable[api.Lease]) -> None:
        if self._options.threads == 0:
            # The result follows in the same breath and says that the lease arrived.
            self._book.arrive(leases, acknowledge=False)
            self._book.settle([self._run_handler(lease) for lease in leases])
            return
        self._book.arrive(leases, acknowledge=True)
        for lease in leases:
            self._pool.submit(self._run_one, lease)

    def _run_one(self, lease: api.Lease) -> None:
        if self._book.start(lease):
            self._book.settle([self._run_handler(lease)])

    def _run_handler(self, lease: api.Lease) -> Result:
        try:
            handler = self._handlers[lease.execution.callable_name]
            output = to_value(handler(lease))
        except Exception as error:  # noqa: BLE001  # whatever a handler raises fails its attempt
            message = f"{type(error).__name__}: {error}"
            return _failure(lease.execution.execution_id, lease.lease_token, message)
        return api.CompleteResult(
            execution_id=lease.execution.execution_id,
            lease_token=lease.lease_token,
            output=output,
        )

    def _note_outcomes(self, outcomes: api.WorkOutcomes) -> None:
        request = self._book.answer()
        refused = [
            (result, outcome.status)
            for result, outcome in zip(results_of(request), outcomes.outcomes, strict=True)
            if outcome.HasField("status")
        ]
        if refused:
            self._book.settle_again([after for item in refused if (after := _after(*item))])
        if self._observe is not None:
            self._observe(request, outcomes)


def to_value(output: object) -> Value | None:
    """Turn what a handler returned into an output; None stays none."""
    if output is None or isinstance(output, Value):
        return output
    return json_format.Parse(json.dumps(output), Value())


def _after(result: Result, status: status_pb2.Status) -> Result | None:
    """Say what follows a refused result: the same again, a failure in its place, or nothing."""
    error = errors.from_status(status)
    if error.is_retryable:
        return result
    if isinstance(error, errors.InvalidArgumentError | errors.OutOfRangeError):
        # It would be refused each time, and its lease would keep a worker busy for ever.
        return _failure(result.execution_id, result.lease_token, f"result refused: {error}")
    return None


def _failure(execution_id: str, lease_token: str, message: str) -> api.Failure:
    error = records.ExecutionError(
        category=records.ERROR_CATEGORY_TOOL_ERROR, message=message[:MESSAGE_CHARACTERS_MAX]
    )
    return api.Failure(execution_id=execution_id, lease_token=lease_token, error=error)
