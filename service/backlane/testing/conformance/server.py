"""Owns the played server: a gRPC server on a free port, with one session per `Work` stream.

Its only unary call is `Release`, for leases that arrive when the worker has half-closed its stream.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc
from grpc_status import rpc_status

from backlane.testing.conformance.session import EndOfStream, Session, outcome_of
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.rpc import status_pb2

    from backlane.testing.conformance.transcript import Transcript

HOST: Final = "127.0.0.1"
STREAMS_MAX: Final = 32
"""The most streams at once; a worker has one, but its earlier streams take a moment to end."""
THREADS: Final = "played-server"
"""The prefix of the names of its threads."""
OPTIONS: Final = (("grpc.max_receive_message_length", 20 << 20), ("grpc.so_reuseport", 1))


class PlayedServer:
    """Accepts streams as sessions, or refuses them.

    Attributes:
        port: the port, which stays the same after a restart.
        refused: the times at which streams were refused, in seconds of the monotonic clock.
        released: the tokens of leases that were given back by a `Release` call.
    """

    def __init__(self, transcript: Transcript, patience_s: float) -> None:
        """Make a server; `start` opens its port."""
        self.port = 0
        self.refused: list[float] = []
        self.released: set[str] = set()
        self._transcript = transcript
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._sessions: deque[Session] = deque()
        self._refusal: status_pb2.Status | None = None
        self._server: grpc.Server | None = None
        self._pool: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Listen on the earlier port, or on a free one."""
        self._pool = ThreadPoolExecutor(STREAMS_MAX, THREADS)
        self._server = grpc.server(self._pool, options=OPTIONS)
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self.port = self._server.add_insecure_port(f"{HOST}:{self.port}")
        self._server.start()

    def stop(self) -> None:
        """Close the port and break every connection."""
        self._transcript.note("server: breaks every connection")
        if self._server is not None and self._pool is not None:
            self._server.stop(None).wait()
            self._pool.shutdown(wait=False)

    def refuse(self, status: status_pb2.Status | None) -> None:
        """Refuse streams with a status from now on; None accepts them again."""
        with self._changed:
            self._refusal = status

    def wake(self) -> None:
        """Let all waits check their conditions again."""
        with self._changed:
            self._changed.notify_all()

    def next_session(self, within_s: float, is_hopeless: Callable[[], bool]) -> Session | None:
        """Wait for the next stream; None if none comes in time, or `is_hopeless` becomes true."""
        with self._changed:
            self._changed.wait_for(lambda: self._sessions or is_hopeless(), within_s)
            return self._sessions.popleft() if self._sessions else None

    def wait_refused(self, count: int, within_s: float, is_hopeless: Callable[[], bool]) -> bool:
        """Wait until that many streams were refused; return whether they were."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.refused) >= count or is_hopeless(), within_s)
            return len(self.refused) >= count

    def _handlers(self) -> grpc.GenericRpcHandler:
        work = grpc.stream_stream_rpc_method_handler(
            self._work, api.WorkRequest.FromString, api.WorkResponse.SerializeToString
        )
        release = grpc.unary_unary_rpc_method_handler(
            self._release, api.ReleaseRequest.FromString, api.ReleaseResponse.SerializeToString
        )
        service = api.DESCRIPTOR.services_by_name["WorkerService"].full_name
        return grpc.method_handlers_generic_handler(service, {"Work": work, "Release": release})

    def _release(
        self, request: api.ReleaseRequest, _context: grpc.ServicerContext
    ) -> api.ReleaseResponse:
        """Answer a `Release` call."""
        self._transcript.note(f"worker: calls Release for {len(request.releases)} leases")
        with self._changed:
            self.released |= {ref.lease_token for ref in request.releases}
            self._changed.notify_all()
        return api.ReleaseResponse(
            outcomes=[outcome_of("release", ref) for ref in request.releases]
        )

    def _work(
        self, requests: Iterator[api.WorkRequest], context: grpc.ServicerContext
    ) -> Iterator[api.WorkResponse]:
        """Serve a stream."""
        with self._changed:
            if refusal := self._refusal:
                self.refused.append(time.monotonic())
                self._changed.notify_all()
        if refusal:
            self._transcript.note(f"server: refuses a stream: {refusal.message}")
            context.abort_with_status(rpc_status.to_status(refusal))
        session = Session(self._transcript, self._patience_s)
        self._transcript.note("worker: opens a stream")
        is_over = threading.Event()
        # A check that failed may not have ended the stream.
        context.add_callback(session.close)
        if not context.add_callback(is_over.set):
            is_over.set()
        session.serve(requests, is_over)
        with self._changed:
            self._sessions.append(session)
            self._changed.notify_all()
        try:
            yield from session.down()
        except EndOfStream as end:
            context.abort_with_status(rpc_status.to_status(end.status))
