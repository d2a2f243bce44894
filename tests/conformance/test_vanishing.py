"""Clients that leave during a call, or do not read, do no harm to others."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import (
    CHANNEL_OPTIONS,
    KIB,
    MIB,
    TIMEOUT_S,
    UNKNOWN_ID,
    Door,
    new_tenant,
    ref,
)
from tests.conformance.stream import WorkStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from tests.conftest import StartServer

QUEUED = records.BACKGROUND_EXECUTION_STATUS_QUEUED
GONE = work.LeaseRef(execution_id=UNKNOWN_ID, lease_token="gone")  # noqa: S106
SLOW_OPTIONS = [*CHANNEL_OPTIONS, ("grpc.http2.lookahead_bytes", 64 * KIB)]


@pytest.fixture
def passing(target: str) -> Iterator[grpc.Channel]:
    """A channel that a test may break."""
    channel = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
    yield channel
    channel.close()


def polling(door: Door, worker: str, lease_duration_ms: int = 30_000) -> Any:  # noqa: ANN401
    """A worker that waits for work: a call that is also a future."""
    request = work.LeaseRequest(
        worker_id=worker,
        callables=["*"],
        tenant_ids=[door.tenant],
        wait_ms=60_000,
        lease_duration_ms=lease_duration_ms,
    )
    return door.worker.Lease.future(request, timeout=TIMEOUT_S)


def test_a_cancelled_poll_takes_nothing(door: Door) -> None:
    gone = polling(door, "gone")
    gone.cancel()
    waiting = polling(door, "waiting")
    execution_id = door.enqueue().execution_id
    [lease] = waiting.result().leases

    assert lease.execution.execution_id == execution_id
    assert lease.attempt == 1


def test_work_for_polls_that_vanish_meanwhile_is_not_lost(
    door: Door, passing: grpc.Channel
) -> None:
    """What such a poll was given goes to another, the latest when its second is over."""
    vanishing = Door(passing, door.tenant)
    polls = [polling(vanishing, "gone", lease_duration_ms=1_000) for _ in range(20)]
    made = {door.enqueue().execution_id for _ in range(20)}
    passing.close()
    got = [lease for poll in polls if is_answered(poll) for lease in poll.result().leases]
    door.call("Release", work.ReleaseRequest(releases=[ref(lease) for lease in got] or [GONE]))
    found: set[str] = set()
    while found != made:
        leases = polling(door, "other").result().leases
        assert leases, "a vanished worker kept its lease"
        found |= {lease.execution.execution_id for lease in leases}


def is_answered(poll: Any) -> bool:  # noqa: ANN401  # a call that is also a future
    return bool(poll.done() and poll.code() is grpc.StatusCode.OK)


def test_a_wait_that_is_cancelled_harms_nothing(door: Door) -> None:
    lease = door.enqueue_and_lease()
    request = api.WaitRequest(
        tenant_id=door.tenant,
        execution_ids=[lease.execution.execution_id],
        timeout=Duration(seconds=60),
    )
    gone, kept = (door.producer.Wait.future(request, timeout=TIMEOUT_S) for _ in range(2))
    gone.cancel()
    door.complete(lease)

    assert kept.result().satisfied
    assert gone.cancelled()


def test_a_run_whose_caller_left_goes_on_and_can_be_waited_for_again(door: Door) -> None:
    run = api.RunRequest(enqueue=door.new(request_id="r"), timeout=Duration(seconds=60))
    gone = door.producer.Run.future(run, timeout=TIMEOUT_S)
    [lease] = polling(door, "w1").result().leases
    gone.cancel()
    again = door.producer.Run.future(run, timeout=TIMEOUT_S)
    door.complete(lease)
    answer = again.result()

    assert answer.existing
    assert answer.execution.status == records.BACKGROUND_EXECUTION_STATUS_COMPLETED


def test_leases_of_a_broken_stream_come_back_to_the_worker_that_reconnects(
    door: Door, passing: grpc.Channel
) -> None:
    door.enqueue()
    stream = WorkStream(Door(passing, door.tenant))
    stream.hello(credit=1)
    [lease] = stream.leases(1)
    passing.close()
    with WorkStream(door) as back:
        assert list(back.hello(held=[lease]).held) == [ref(lease)]


def test_an_enqueue_stream_that_breaks_keeps_what_it_answered(
    door: Door, passing: grpc.Channel
) -> None:
    asked = threading.Event()

    def messages() -> Iterator[api.EnqueueStreamRequest]:
        yield api.EnqueueStreamRequest(items=[door.new(), door.new()])
        asked.wait(TIMEOUT_S)

    call = Door(passing, door.tenant).producer.EnqueueStream(messages())
    outcomes = next(call).outcomes
    call.cancel()
    asked.set()

    listed = door.call("List", api.ListRequest(tenant_id=door.tenant)).executions
    ids = [outcome.result.execution_id for outcome in outcomes]
    assert [record.execution_id for record in listed] == ids[::-1]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) + b"\x00\x40\x00\x00\x00\x00\x00\x00\x01",
        bytes(4 * KIB),
    ],
    ids=["nothing", "http1", "noise", "cut-data", "zeros"],
)
def test_a_connection_that_speaks_no_grpc_is_nobodys_trouble(
    door: Door, target: str, sent: bytes
) -> None:
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), TIMEOUT_S) as raw:
        raw.sendall(sent)
        assert door.enqueue().status == QUEUED
    assert door.stats().ready == 1


def test_a_worker_that_stops_reading_bounds_itself_and_harms_nobody(
    own_server: StartServer,
) -> None:
    server = own_server()
    with (
        grpc.insecure_channel(server.target, options=CHANNEL_OPTIONS) as channel,
        grpc.insecure_channel(server.target, options=SLOW_OPTIONS) as slow_channel,
    ):
        door = Door(channel, new_tenant())
        batch = [door.new(input="x" * MIB)] * 15
        for _ in range(4):
            door.call("EnqueueBatch", api.EnqueueBatchRequest(tenant_id=door.tenant, items=batch))
        before = resident_bytes(server.process.pid)
        stalled = WorkStream(Door(slow_channel, door.tenant))
        # It takes nothing more from now on but the welcome.
        stalled.hello("stalled", credit=1000)
        others = [lease for _ in range(40) for lease in door.lease(worker="other")]

        held = door.stats().running - len(others)
        assert held <= 12, "a stalled reader was given leases without bound"
        assert len(others) == 40
        assert resident_bytes(server.process.pid) - before < 64 * MIB
        assert all(door.complete(lease).HasField("result") for lease in others)
        stalled.call.cancel()
        assert server.process.poll() is None
        assert door.enqueue().status == QUEUED


def resident_bytes(pid: int) -> int:
    """What a process has in memory."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


class Flood:
    """A message again and again, whose answer is larger than it is, for as long as it is taken."""

    def __init__(self, *messages: Message, most: int) -> None:
        self._messages = messages
        self._most = most
        self.all_taken = threading.Event()

    def __iter__(self) -> Iterator[Message]:
        yield from self._messages
        for _ in range(self._most - 1):
            yield self._messages[-1]
        self.all_taken.set()


def of_enqueues(door: Door) -> tuple[Any, Flood]:
    """48 messages of 10 000 items that are refused each."""
    item = api.EnqueueRequest(tenant_id="t", callable_name=" " * 100)
    message = api.EnqueueStreamRequest(items=[item] * 10_000)
    return door.producer.EnqueueStream, Flood(message, most=48)


def of_results(door: Door) -> tuple[Any, Flood]:
    """480 messages of 1 000 results each, for leases that nobody has."""
    hello = work.WorkHello(worker_id="w1", callables=["*"], tenant_ids=[door.tenant])
    result = work.CompleteResult(execution_id=UNKNOWN_ID, lease_token="x" * 60)
    message = work.WorkRequest(complete=work.CompleteRequest(results=[result] * 1_000))
    return door.worker.Work, Flood(work.WorkRequest(hello=hello), message, most=480)


@pytest.mark.parametrize("flooded", [of_enqueues, of_results])
def test_a_client_that_takes_no_answers_is_not_read_for_ever(
    own_server: StartServer, flooded: Callable[[Door], tuple[Any, Flood]]
) -> None:
    server = own_server()
    with grpc.insecure_channel(server.target, options=CHANNEL_OPTIONS) as channel:
        door = Door(channel, new_tenant())
        method, flood = flooded(door)
        before = resident_bytes(server.process.pid)
        call = method(iter(flood), timeout=2 * TIMEOUT_S)
        assert not flood.all_taken.wait(1), "the server took all without an answer being read"
        assert door.enqueue().status == QUEUED
        assert resident_bytes(server.process.pid) - before < 96 * MIB
        answered = sum(outcomes_in(response) for response in call)

    assert answered == 480_000


def outcomes_in(response: api.EnqueueStreamResponse | work.WorkResponse) -> int:
    if isinstance(response, work.WorkResponse):
        return len(response.outcomes.outcomes)
    return len(response.outcomes)


class CuttingProxy(threading.Thread):
    """Lets so many bytes of one client through to the server, then cuts both connections."""

    def __init__(self, target: str, most_bytes: int) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._target = target.rpartition(":")
        self._left = most_bytes
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        """Serve one client, and nobody after it."""
        client, _ = self._listener.accept()
        server = socket.create_connection((self._target[0], int(self._target[2])))
        back = threading.Thread(target=self._carry_back, args=(server, client), daemon=True)
        back.start()
        while self._left and (piece := client.recv(min(self._left, 16 * KIB))):
            server.sendall(piece)
            self._left -= len(piece)
        for one in (self._listener, client, server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        back.join()

    @staticmethod
    def _carry_back(server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(16 * KIB):
                client.sendall(piece)


def by_enqueue(door: Door, request: api.EnqueueRequest) -> None:
    door.producer.Enqueue(request, timeout=TIMEOUT_S)


def by_stream(door: Door, request: api.EnqueueRequest) -> None:
    message = api.EnqueueStreamRequest(items=[request])
    list(door.producer.EnqueueStream(iter([message]), timeout=TIMEOUT_S))


@pytest.mark.parametrize("way", [by_enqueue, by_stream])
def test_a_connection_that_breaks_within_a_message_made_nothing(
    door: Door, target: str, way: Callable[[Door, api.EnqueueRequest], None]
) -> None:
    proxy = CuttingProxy(target, 300 * KIB)
    proxy.start()
    with (
        grpc.insecure_channel(proxy.target, options=CHANNEL_OPTIONS) as channel,
        pytest.raises(grpc.RpcError) as raised,
    ):
        way(Door(channel, door.tenant), door.new(input="x" * MIB))
    proxy.join(TIMEOUT_S)
    ended: Any = raised.value

    assert ended.code() is grpc.StatusCode.UNAVAILABLE
    assert not any(door.everything())


def test_the_server_outlives_all_that(door: Door, passing: grpc.Channel) -> None:
    """Many streams and polls that all break at once leave a server that works."""
    broken = Door(passing, door.tenant)
    streams = [WorkStream(broken) for _ in range(20)]
    for number, stream in enumerate(streams):
        stream.hello(f"w{number}", credit=100)
    for number in range(20):
        polling(broken, f"p{number}")
    passing.close()
    record = door.enqueue()

    assert door.get(record.execution_id).execution_id == record.execution_id
