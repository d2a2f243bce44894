"""Owns one run of a worker, from its first stream to the end of its drain.

A worker has a lane for the callables that share its slots, and one more for each callable with a
concurrency of its own. A lane has its own stream, credit and slots, so that a callable at its limit
neither hoards leases nor keeps others waiting.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc

from backlane import errors
from backlane.v1 import worker_service_pb2 as api
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from backlane.worker.book import Book
from backlane.worker.crew import Crew
from backlane.worker.stream import WorkStream
from backlane.worker.threads import DaemonPool
from backlane.worker.watchdog import LoopThread, Watchdog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backlane.channel import Endpoint
    from backlane.worker.callable import BackgroundCallable
    from backlane.worker.stream import Observer

    Callables = Mapping[str, BackgroundCallable[..., Any]]

UNWIND_S: Final = 1.0
"""How long callables that were told to stop may take to do so, in seconds."""
LAST_WORD_S: Final = 3.0
"""How long the server may take to answer the last results, in seconds."""
PROBE_S: Final = 1.0
"""How long it may take to learn why there is no server, in seconds."""
_NOBODY: Final = "Connection refused"

log = logging.getLogger("backlane.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a worker works.

    Attributes:
        name: its name, which it keeps over reconnects; empty until it is known who works.
        endpoint: the server.
        tenants: whose executions it runs; empty means all that it may.
        concurrency: how many executions it runs at once, those of lanes of their own not counted.
        lease: the silence that loses its leases, in seconds.
        drain_timeout: how long a drain lets callables run on, in seconds.
        observe: is told what the server answered to each message of results.
    """

    name: str
    endpoint: Endpoint
    tenants: Sequence[str]
    concurrency: int
    lease: float
    drain_timeout: float
    observe: Observer | None = None


class _Lane:
    """A stream with its book, crew and thread."""

    def __init__(self, settings: Settings, callables: Callables, slots: int, shift: Shift) -> None:
        # Three heartbeats in each lease period: one may be late and one lost.
        self.book = Book(slots, settings.lease / 3)
        pool = DaemonPool(slots, "backlane-callable")
        self.crew = Crew(
            *(self.book, callables, settings.name, settings.lease, shift.thread.loop, pool)
        )
        hello = api.WorkHello(
            worker_id=settings.name,
            callables=sorted(callables),
            tenant_ids=settings.tenants,
            lease_duration_ms=round(settings.lease * 1000),
        )
        self._pool = pool
        self.stream = WorkStream(
            *(shift.stub, hello, self.book, self.crew),
            metadata=settings.endpoint.metadata,
            observe=settings.observe,
        )
        self.thread = threading.Thread(target=self._run, args=[shift], name="backlane-stream")
        self.thread.daemon = True

    def _run(self, shift: Shift) -> None:
        try:
            self.stream.run()
        except Exception as error:  # noqa: BLE001  # raised again by `wait`
            shift.fail(error)
        finally:
            self._pool.close()
            shift.note_end()


class Shift:
    """A worker at work. Its threads are daemons; `wait` ends when they have nothing left to do."""

    def __init__(self, settings: Settings, callables: Callables) -> None:
        """Make everything ready; `start` begins."""
        self._settings = settings
        self._channel = settings.endpoint.open()
        self.stub = WorkerServiceStub(self._channel)
        self.thread = LoopThread()
        self._lanes = [
            _Lane(settings, group, slots, self) for group, slots in _lanes(settings, callables)
        ]
        self._lanes_left = len(self._lanes)
        self._watchdog = Watchdog(self.thread, [lane.crew for lane in self._lanes])
        # A reentrant lock, because a signal's handler may drain wherever it interrupts.
        self._lock = threading.RLock()
        self._is_draining = False
        self._is_closed = False
        self._ended = threading.Event()
        self._enough = threading.Event()
        self._error: Exception | None = None
        self._is_away = False

    def start(self) -> None:
        """Open the streams."""
        self._channel.subscribe(self._note_connectivity, try_to_connect=True)
        self._watchdog.start()
        for lane in self._lanes:
            lane.thread.start()

    def drain(self) -> None:
        """Take nothing more, let run what runs, give back the rest. A second call hurries it.

        May be called from any thread, and from a signal's handler.
        """
        with self._lock:
            is_first, self._is_draining = not self._is_draining, True
        if is_first:
            threading.Thread(target=self._drain, name="backlane-drain", daemon=True).start()
        else:
            self._enough.set()

    def fail(self, error: Exception) -> None:
        """End everything because one stream cannot go on."""
        if self._error is None:
            self._error = error
            # At once, since it may take long until somebody waits for it.
            kind = type(error).__name__
            log.error("%s: cannot go on: %s: %s", self._settings.name, kind, error)
        for lane in self._lanes:
            lane.stream.cut()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the work has ended, and return whether it has within that many seconds.

        Raises:
            BacklaneError: the server would not take this worker.
        """
        if not self._ended.wait(timeout):
            return False
        self._close()
        if self._error is not None:
            raise self._error
        return True

    def note_end(self) -> None:
        """Note that a lane's stream has ended for good."""
        with self._lock:
            self._lanes_left -= 1
            if not self._lanes_left:
                self._ended.set()
                self._enough.set()

    def _drain(self) -> None:
        log.info(
            "%s: draining, for %g s at most", self._settings.name, self._settings.drain_timeout
        )
        for lane in self._lanes:
            lane.book.drain()
            lane.stream.hurry()
        self._enough.wait(self._settings.drain_timeout)
        if self._ended.is_set():
            return
        for lane in self._lanes:
            lane.crew.stop_all("drain")
        self._ended.wait(UNWIND_S)
        for lane in self._lanes:
            lane.book.release_open()
            lane.stream.hurry()
        self._ended.wait(LAST_WORD_S)
        for lane in self._lanes:
            lane.stream.cut()

    def _close(self) -> None:
        with self._lock:
            is_closed, self._is_closed = self._is_closed, True
        if is_closed:
            return
        self._watchdog.stop()
        for lane in self._lanes:
            for run in lane.crew.running():
                run.context.log.warning("still runs, and is left behind: it did not stop")
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
        """Return what gRPC knows beside that nobody listens there, which a call alone is told."""
        try:
            self.stub.Release(api.ReleaseRequest(), timeout=PROBE_S)
        except grpc.RpcError as call:
            error = errors.from_rpc_error(call)
            if isinstance(error, errors.UnavailableError) and _NOBODY not in error.message:
                return f" ({error.message.rpartition('last error: ')[2]})"
        except ValueError:
            pass  # the channel is closed by now
        return ""


def _lanes(settings: Settings, callables: Callables) -> list[tuple[Callables, int]]:
    """Divide callables into lanes, each with its slots."""
    shared = {name: called for name, called in callables.items() if called.concurrency is None}
    lanes: list[tuple[Callables, int]] = [(shared, settings.concurrency)] if shared else []
    lanes += [
        ({name: called}, called.concurrency)
        for name, called in callables.items()
        if called.concurrency is not None
    ]
    return lanes
