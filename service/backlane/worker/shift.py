"""Owns one run of a worker, from its first stream to the end of its drain.

A worker has one stream. It has one lane for the callables that share its slots, and one for each
callable with its own concurrency. A lane has its own credit and slots. So a callable at its limit
gets no leases that have to wait, and does not delay other callables.
"""

from __future__ import annotations

import itertools
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc

from backlane import errors
from backlane.channel import through_proxy
from backlane.v1 import worker_service_pb2 as api
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from backlane.worker.book import Book
from backlane.worker.crew import Crew
from backlane.worker.kin import Kin
from backlane.worker.stream import WorkStream
from backlane.worker.threads import DaemonPool
from backlane.worker.watchdog import LoopThread, Watchdog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from backlane.channel import Endpoint
    from backlane.worker.callable import BackgroundCallable
    from backlane.worker.stream import Observer

    Callables = Mapping[str, BackgroundCallable[..., Any]]

UNWIND_S: Final = 1.0
"""How long callables may take to stop, in seconds."""
LAST_WORD_S: Final = 3.0
"""How long to wait for the server's answers to the last results, in seconds."""
PROBE_S: Final = 1.0
"""How long the call may take that finds out why there is no server, in seconds."""
_NOBODY: Final = "Connection refused"

log = logging.getLogger("backlane.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a worker.

    Attributes:
        name: what the worker's id begins with; may be empty.
        worker_id: the worker's id, the same over reconnects; empty until the run starts.
        endpoint: the server.
        tenants: the tenants whose executions the worker runs; empty means all that it may.
        concurrency: the most executions at once, without callables that have their own concurrency.
        lease: the time without a heartbeat after which leases are lost, in seconds.
        drain_timeout: how long callables may run during a drain, in seconds.
        observe: called with each message of results and the server's answer.
    """

    name: str
    worker_id: str
    endpoint: Endpoint
    tenants: Sequence[str]
    concurrency: int
    lease: float
    drain_timeout: float
    observe: Observer | None = None


class _Crews:
    """The crews of all lanes, as the runner of one stream."""

    def __init__(self, crews: Sequence[Crew]) -> None:
        self._crews = crews

    def take_on(self, leases: Sequence[api.Lease]) -> None:
        """Run new leases."""
        # One message has leases of one lane.
        for lane, group in itertools.groupby(leases, key=lambda lease: lease.lane):
            self._crews[lane].take_on(list(group))

    def cancel(self, tokens: Iterable[str]) -> None:
        """Ask executions to stop because a client cancelled them."""
        tokens = list(tokens)
        for crew in self._crews:
            crew.cancel(tokens)

    def pause(self, tokens: Iterable[str]) -> None:
        """Ask executions to yield to a pause at their next step."""
        tokens = list(tokens)
        for crew in self._crews:
            crew.pause(tokens)

    def lose(self, tokens: Iterable[str]) -> None:
        """Stop executions whose lease is lost."""
        tokens = list(tokens)
        for crew in self._crews:
            crew.lose(tokens)


class Shift:
    """A running worker. Its threads are daemons; `wait` returns when they have finished."""

    def __init__(self, settings: Settings, callables: Callables) -> None:
        """Prepare the run; `start` begins it."""
        self._settings = settings
        self._channel = settings.endpoint.open()
        self.stub = WorkerServiceStub(self._channel)
        self.thread = LoopThread()
        lanes = _lanes(settings, callables)
        # Three heartbeats per lease period: one may be late and one may be lost.
        self._book = Book(*(slots for _, slots in lanes), silence_s=settings.lease / 3)
        kin = Kin(ExecutionServiceStub(self._channel), settings.endpoint.metadata)
        self._pools = [DaemonPool(slots, "backlane-callable") for _, slots in lanes]
        self._crews = [
            Crew(
                *(self._book, group, settings.worker_id, settings.lease, self.thread.loop, pool),
                lane=number,
                kin=kin,
            )
            for number, ((group, _), pool) in enumerate(zip(lanes, self._pools, strict=True))
        ]
        self._stream = WorkStream(
            *(self.stub, _hello(settings, lanes), self._book, _Crews(self._crews)),
            metadata=settings.endpoint.metadata,
            observe=settings.observe,
        )
        self._watchdog = Watchdog(self.thread, self._crews)
        # Reentrant, because a signal handler may call `drain` while this thread has the lock.
        self._lock = threading.RLock()
        self._is_draining = False
        self._is_closed = False
        self._ended = threading.Event()
        self._enough = threading.Event()
        self._error: Exception | None = None
        self._is_away = False

    def start(self) -> None:
        """Open the stream."""
        self._channel.subscribe(self._note_connectivity, try_to_connect=True)
        self._watchdog.start()
        threading.Thread(target=self._run, name="backlane-stream", daemon=True).start()

    def drain(self) -> None:
        """Take no more leases, and end when the running callables have finished.

        Callables that outlast `drain_timeout` are told to stop, and their leases are given back. A
        second call does so at once. May be called from any thread and from a signal handler.
        """
        with self._lock:
            is_first, self._is_draining = not self._is_draining, True
        if is_first:
            threading.Thread(target=self._drain, name="backlane-drain", daemon=True).start()
        else:
            self._enough.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run has ended; return whether it has within that many seconds.

        Raises:
            BacklaneError: the server refused this worker.
        """
        if not self._ended.wait(timeout):
            return False
        self._close()
        if self._error is not None:
            raise self._error
        return True

    def _run(self) -> None:
        try:
            self._stream.run()
        except Exception as error:  # noqa: BLE001  # raised again by `wait`
            self._fail(error)
        finally:
            for pool in self._pools:
                pool.close()
            self._ended.set()
            self._enough.set()

    def _fail(self, error: Exception) -> None:
        self._error = error
        # Logged now, since it may take long until `wait` raises it.
        kind = type(error).__name__
        log.error("%s: cannot continue: %s: %s", self._settings.worker_id, kind, error)

    def _drain(self) -> None:
        log.info(
            "%s: draining, for %g s at most", self._settings.worker_id, self._settings.drain_timeout
        )
        self._book.drain()
        self._stream.hurry()
        self._enough.wait(self._settings.drain_timeout)
        if self._ended.is_set():
            return
        for crew in self._crews:
            crew.stop_all("drain")
        self._ended.wait(UNWIND_S)
        self._book.release_open()
        self._stream.hurry()
        self._ended.wait(LAST_WORD_S)
        self._stream.cut()

    def _close(self) -> None:
        with self._lock:
            is_closed, self._is_closed = self._is_closed, True
        if is_closed:
            return
        self._watchdog.stop()
        for crew in self._crews:
            for run in crew.running():
                run.context.log.warning("still running, and left behind: it did not stop")
        self.thread.stop(UNWIND_S)
        self._channel.close()

    def _note_connectivity(self, state: grpc.ChannelConnectivity) -> None:
        is_away = state is grpc.ChannelConnectivity.TRANSIENT_FAILURE
        if is_away and not self._is_away:
            log.warning(
                "no server at %s: trying until there is one%s",
                *(self._settings.endpoint.target, self._why_away()),
            )
        if is_away or state is grpc.ChannelConnectivity.READY:
            self._is_away = is_away

    def _why_away(self) -> str:
        """Return the proxy on the way, and gRPC's reason if it is not a refused connection."""
        told = [through_proxy(self._settings.endpoint.target)]
        try:
            # Only a call can get the reason.
            self.stub.Release(api.ReleaseRequest(), timeout=PROBE_S)
        except grpc.RpcError as call:
            error = errors.from_rpc_error(call)
            if isinstance(error, errors.UnavailableError) and _NOBODY not in error.message:
                told.append(error.message.rpartition("last error: ")[2])
        except ValueError:
            pass  # the channel was closed meanwhile
        text = "; ".join(filter(None, told))
        return f" ({text})" if text else ""


def _hello(settings: Settings, lanes: Sequence[tuple[Callables, int]]) -> api.WorkHello:
    (shared, _), *others = lanes
    return api.WorkHello(
        worker_id=settings.worker_id,
        callables=sorted(shared),
        tenant_ids=settings.tenants,
        lease_duration_ms=round(settings.lease * 1000),
        lanes=[api.WorkLane(callables=sorted(group)) for group, _ in others],
    )


def _lanes(settings: Settings, callables: Callables) -> list[tuple[Callables, int]]:
    """Divide callables into lanes, each with its slots; the first may be empty."""
    shared = {name: called for name, called in callables.items() if called.concurrency is None}
    lanes: list[tuple[Callables, int]] = [(shared, settings.concurrency)]
    lanes += [
        ({name: called}, called.concurrency)
        for name, called in callables.items()
        if called.concurrency is not None
    ]
    return lanes
