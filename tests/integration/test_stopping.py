"""What a stop does to producers and workers that are idle, and which signals stop a server."""

from __future__ import annotations

import queue
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import grpc
import pytest

from backlane import Client
from backlane.errors import DrainingError, from_rpc_error
from backlane.server.descriptors import REFLECTION_V1
from backlane.v1 import execution_service_pb2 as api
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
from tests.benchmarks.stop import idle_worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartServer

# Longer than a test may take, so that a stop that waits for it fails.
LONG_GRACE = ("--drain-grace", "10m")
EXECUTIONS, WORKERS = "backlane.v1.ExecutionService", "backlane.v1.WorkerService"
ITEM = api.EnqueueRequest(tenant_id="t", callable_name="c")


def test_an_idle_producer_does_not_hold_a_stop(start_server: StartServer) -> None:
    server = start_server(args=LONG_GRACE)
    requests: queue.SimpleQueue[api.EnqueueStreamRequest] = queue.SimpleQueue()
    with grpc.insecure_channel(server.target) as channel:
        call = ExecutionServiceStub(channel).EnqueueStream(iter(requests.get, None))
        requests.put(api.EnqueueStreamRequest(items=[ITEM]))
        assert len(next(call).outcomes) == 1
        server.terminate()
        with pytest.raises(grpc.RpcError) as raised:
            next(call)

        assert server.wait() == 0
    assert type(from_rpc_error(raised.value)) is DrainingError
    assert "still open" not in server.read_log()


SILENT: dict[str, Callable[[grpc.Channel], grpc.Call]] = {
    "a producer": lambda channel: open_stream(channel, EXECUTIONS, "EnqueueStream"),
    "a worker before its hello": lambda channel: open_stream(channel, WORKERS, "Work"),
    "a call without its request": lambda channel: open_stream(channel, EXECUTIONS, "Get"),
    "reflection": lambda channel: open_stream(channel, REFLECTION_V1, "ServerReflectionInfo"),
}


def open_stream(channel: grpc.Channel, service: str, method: str) -> grpc.Call:
    """Begin a call, and send nothing on it."""
    nothing: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    opening: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
        f"/{service}/{method}"
    )
    return opening(iter(nothing.get, None))


@pytest.mark.parametrize("who", SILENT)
def test_a_client_that_sends_nothing_is_told_at_once_that_the_server_stops(
    start_server: StartServer, who: str
) -> None:
    server = start_server(args=LONG_GRACE)
    with grpc.insecure_channel(server.target) as channel:
        call = SILENT[who](channel)
        # The server has seen it, since it has answered a later call of the connection.
        ExecutionServiceStub(channel).Enqueue(ITEM, timeout=20)
        server.terminate()

        assert server.wait() == 0
        # A call that the stop itself had to cut off would have no such status.
        assert call.code() is grpc.StatusCode.UNAVAILABLE
        assert call.details() == "the server is stopping"
    assert "still open" not in server.read_log()


def test_idle_workers_do_not_hold_a_stop(start_server: StartServer) -> None:
    server = start_server(args=LONG_GRACE)
    with ExitStack() as workers:
        idle = [workers.enter_context(idle_worker(server.target, n)) for n in range(3)]
        server.terminate()
        assert server.wait() == 0

    assert len(idle) == 3
    assert "still open" not in server.read_log()


def test_a_client_of_the_sdk_does_not_hold_a_stop_and_loses_nothing(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data", args=LONG_GRACE)
    with Client(server.target, tenant="t") as client, ThreadPoolExecutor(1) as pool:
        first = client.enqueue("c", 1).execution_id
        server.terminate()
        meanwhile = pool.submit(client.enqueue, "c", 2)
        assert server.wait() == 0
        assert "still open" not in server.read_log()
        server.restart()

        second = meanwhile.result(30).execution_id
        assert {record.execution_id for record in client.list()} == {first, second}


def test_a_hangup_drains(start_server: StartServer) -> None:
    server = start_server()
    server.process.send_signal(signal.SIGHUP)

    assert server.wait() == 0
    assert "draining; a second SIGHUP" in server.read_log()


def test_a_hangup_that_is_ignored_at_the_start_stays_ignored(start_server: StartServer) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        server = start_server()
    finally:
        signal.signal(signal.SIGHUP, before)
    server.process.send_signal(signal.SIGHUP)
    with grpc.insecure_channel(server.target) as channel:
        ExecutionServiceStub(channel).Enqueue(ITEM, timeout=20)
    server.terminate()

    assert server.wait() == 0
    assert "SIGHUP" not in server.read_log()
