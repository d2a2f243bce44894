"""The lifecycle of a server: its ready line, failed starts, and how it stops."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2

from backlane.errors import DrainingError, ExecutionNotFoundError, from_rpc_error
from backlane.testing import ServerStartError
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartServer

    WatchMethod = grpc.UnaryStreamMultiCallable[
        health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    ]

HELLO = work.WorkRequest(hello=work.WorkHello(worker_id="w", callables=["*"]))
POLL = work.LeaseRequest(worker_id="w", callables=["*"], wait_ms=60_000)


def enqueue(channel: grpc.Channel) -> str:
    """Enqueue one execution and return its id."""
    request = api.EnqueueRequest(tenant_id="t", callable_name="c", input="in")
    execution_id: str = (
        ExecutionServiceStub(channel).Enqueue(request, timeout=20).execution.execution_id
    )
    return execution_id


def watch(channel: grpc.Channel) -> Iterator[int]:
    """The server's health, each change of it."""
    method: WatchMethod = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    for response in method(health_pb2.HealthCheckRequest()):
        yield response.status


def test_a_taken_port_is_one_line_and_status_2(start_server: StartServer) -> None:
    taken = start_server().target
    with pytest.raises(ServerStartError) as raised:
        start_server(listen=taken)

    assert raised.value.status == 2
    assert raised.value.stderr == (
        f"backlane: cannot listen on {taken}: address already in use; choose another address with "
        "--listen\n"
    )


def test_a_host_in_a_form_that_grpc_does_not_know_is_told_as_such(
    start_server: StartServer,
) -> None:
    with pytest.raises(ServerStartError) as raised:
        start_server(listen="127.1:0")

    assert raised.value.status == 2
    assert raised.value.stderr == (
        "backlane: cannot listen on 127.1:0: gRPC does not know this form of a host; choose "
        "another address with --listen\n"
    )


def test_a_full_disk_below_stdout_is_no_end_of_the_server() -> None:
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "backlane", "serve", "--memory", "--listen", "127.0.0.1:0"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    with process:
        assert process.stderr is not None
        told = next(line for line in process.stderr if "cannot be written" in line)
        process.send_signal(signal.SIGTERM)

        assert process.wait(30) == 0
    assert "stdout cannot be written (No space left on device): backlane 0" in told


def test_data_in_use_is_one_line_and_status_2(start_server: StartServer, tmp_path: Path) -> None:
    start_server(tmp_path / "data")
    with pytest.raises(ServerStartError) as raised:
        start_server(tmp_path / "data")

    assert raised.value.status == 2
    [line] = raised.value.stderr.splitlines()
    assert line.startswith("backlane: ")
    assert str(tmp_path / "data") in line


def test_data_that_is_no_directory_is_one_line_and_status_2(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(ServerStartError) as raised:
        start_server(tmp_path / "file")

    assert raised.value.status == 2
    assert len(raised.value.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_with_status_0(
    start_server: StartServer, number: signal.Signals
) -> None:
    server = start_server()
    server.process.send_signal(number)

    assert server.wait() == 0


def test_a_stop_answers_parked_polls_and_tells_workers_and_watchers(
    start_server: StartServer,
) -> None:
    server = start_server()
    with grpc.insecure_channel(server.target) as channel:
        poll = WorkerServiceStub(channel).Lease.future(POLL)
        responses = WorkerServiceStub(channel).Work(open_until(poll.result))
        assert next(responses).WhichOneof("message") == "welcome"
        statuses = watch(channel)
        assert next(statuses) == health_pb2.HealthCheckResponse.SERVING
        server.terminate()

        assert next(statuses) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert next(responses).WhichOneof("message") == "drain"
        assert list(poll.result(20).leases) == []
        assert server.wait() == 0


def open_until(wait: Callable[[], object]) -> Iterator[work.WorkRequest]:
    """The messages of a worker that sends a hello and ends its stream after `wait`."""
    yield HELLO
    wait()


@contextlib.contextmanager
def open_stream(channel: grpc.Channel) -> Iterator[Iterator[work.WorkResponse]]:
    """The responses of a worker's stream, which is open during the block."""
    is_over = threading.Event()
    responses = WorkerServiceStub(channel).Work(open_until(is_over.wait))
    next(responses)
    try:
        yield responses
    finally:
        is_over.set()


def test_a_stream_that_stays_open_is_ended_after_the_grace(start_server: StartServer) -> None:
    server = start_server(args=("--drain-grace", "100ms"))
    with grpc.insecure_channel(server.target) as channel, open_stream(channel) as responses:
        server.terminate()
        with pytest.raises(grpc.RpcError) as raised:
            list(responses)

        assert server.wait() == 0
    assert isinstance(from_rpc_error(raised.value), DrainingError)


def test_a_second_signal_stops_at_once(start_server: StartServer) -> None:
    server = start_server(args=("--drain-grace", "1h"))
    with grpc.insecure_channel(server.target) as channel, open_stream(channel):
        statuses = watch(channel)
        next(statuses)
        server.terminate()
        # With this status the server has handled the first signal.
        next(statuses)
        server.terminate()

        assert server.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_what_was_acknowledged_is_there_after_a_restart(
    start_server: StartServer, tmp_path: Path, ending: str
) -> None:
    server = start_server(tmp_path / "data")
    with grpc.insecure_channel(server.target) as channel:
        execution_id = enqueue(channel)
    getattr(server, ending)()
    server.restart()

    with grpc.insecure_channel(server.target) as channel:
        request = api.GetRequest(tenant_id="t", execution_id=execution_id)
        response = ExecutionServiceStub(channel).Get(request, timeout=20)
    assert response.execution.input == "in"


def test_a_server_in_memory_forgets(start_server: StartServer) -> None:
    server = start_server()
    with grpc.insecure_channel(server.target) as channel:
        execution_id = enqueue(channel)
    server.restart()

    with grpc.insecure_channel(server.target) as channel:
        request = api.GetRequest(tenant_id="t", execution_id=execution_id)
        with pytest.raises(grpc.RpcError) as raised:
            ExecutionServiceStub(channel).Get(request, timeout=20)
    assert isinstance(from_rpc_error(raised.value), ExecutionNotFoundError)


def test_an_open_port_without_identity_is_warned_of(start_server: StartServer) -> None:
    exposed = start_server(listen="0.0.0.0:0")
    local = start_server()

    assert "has no authentication" in exposed.read_log()
    assert "has no authentication" not in local.read_log()


def test_a_poll_whose_caller_left_takes_nothing(start_server: StartServer) -> None:
    server = start_server()
    with grpc.insecure_channel(server.target) as channel:
        worker = WorkerServiceStub(channel)
        for _ in range(20):
            gone = worker.Lease.future(POLL)
            gone.cancel()
        execution_id = enqueue(channel)
        [lease] = worker.Lease(POLL, timeout=20).leases

    assert lease.execution.execution_id == execution_id
