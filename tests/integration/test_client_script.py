"""What both clients make of streams that end in any way, on a server that plays a script."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from concurrent import futures
from typing import TYPE_CHECKING, NamedTuple

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from backlane import AsyncClient, Client, errors
from backlane.v1 import execution_service_pb2 as api
from backlane.v1.execution_service_pb2_grpc import (
    ExecutionServiceServicer,
    add_ExecutionServiceServicer_to_server,
)
from tests.integration.client_kinds import KINDS, PATIENCE_S, open_client

if TYPE_CHECKING:
    from collections.abc import Iterator

Code = grpc.StatusCode


class End(NamedTuple):
    """How a stream ends once its first message is read; a reason makes it Backlane's own."""

    code: grpc.StatusCode
    reason: str = ""

    def play(self, context: grpc.ServicerContext) -> None:
        """End a stream."""
        if self.code is Code.OK:
            return
        if not self.reason:
            context.abort(self.code, "played")
        detail = AnyMessage()
        detail.Pack(error_details_pb2.ErrorInfo(domain="backlane", reason=self.reason))
        status = status_pb2.Status(code=self.code.value[0], message="played", details=[detail])
        context.abort_with_status(rpc_status.to_status(status))


class Script(ExecutionServiceServicer):
    """Ends streams as told, one after another, and answers all that follow.

    Attributes:
        ends: those that are still to come.
        seen: the request ids of what was read, in order.
        has_seen: set once there is one.
        streams: how many were opened.
        answers: how many outcomes each request has; one, of a good server.
    """

    def __init__(self) -> None:
        self.ends: deque[End] = deque()
        self.seen: list[str] = []
        self.has_seen = threading.Event()
        self.streams = 0
        self.answers = 1

    def EnqueueStream(  # noqa: N802  # gRPC's name
        self, request_iterator: Iterator[api.EnqueueStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[api.EnqueueStreamResponse]:
        self.streams += 1
        for request in request_iterator:
            self.seen += [item.request_id for item in request.items]
            self.has_seen.set()
            if self.ends:
                self.ends.popleft().play(context)
                return
            made = [
                api.EnqueueOutcome(result=api.EnqueueResult(execution_id=item.request_id))
                for item in request.items
            ]
            yield api.EnqueueStreamResponse(outcomes=made * self.answers)


@pytest.fixture
def script() -> Script:
    """What is played."""
    return Script()  # type: ignore[abstract]  # what it lacks is UNIMPLEMENTED


@pytest.fixture
def target(script: Script) -> Iterator[str]:
    """Where it is played."""
    server = grpc.server(futures.ThreadPoolExecutor(32))
    add_ExecutionServiceServicer_to_server(script, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, target: str) -> Iterator[Client]:
    """A client of either kind."""
    with open_client(request.param, target, "acme", call_timeout=PATIENCE_S) as opened:
        yield opened


BROKEN = End(Code.UNAVAILABLE)


@pytest.mark.parametrize(
    ("ends", "may_be"),
    [
        ([BROKEN, End(Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")], True),
        ([End(Code.RESOURCE_EXHAUSTED, "DISK_FULL")], True),
        ([End(Code.UNKNOWN)], True),
        ([End(Code.DATA_LOSS)], True),
        ([BROKEN, End(Code.RESOURCE_EXHAUSTED, "QUEUE_FULL")], False),
        ([BROKEN, End(Code.INVALID_ARGUMENT, "INVALID_ARGUMENT")], False),
    ],
)
def test_an_error_tells_whether_any_attempt_may_have_been_taken_in(
    client: Client, script: Script, ends: list[End], *, may_be: bool
) -> None:
    script.ends += ends

    with pytest.raises(errors.BacklaneError) as refused:
        client.enqueue("x", request_id="a")

    assert refused.value.maybe_applied is may_be
    assert script.seen == ["a"] * len(ends)
    assert client.enqueue("x", request_id="b").execution_id == "b"


def test_streams_that_end_well_without_answers_are_opened_again_with_pauses(
    client: Client, script: Script
) -> None:
    script.ends += [End(Code.OK)] * 3

    assert client.enqueue("x", request_id="a").execution_id == "a"
    assert script.seen == ["a"] * 4

    script.ends += [End(Code.OK)] * 10_000
    with pytest.raises(errors.CallTimeoutError):
        client.enqueue("x", call_timeout=0.5)
    # Half a second has room for five pauses of at least these lengths; without any, for hundreds.
    assert script.streams < 20


def test_answers_that_nobody_asked_for_are_passed_over(client: Client, script: Script) -> None:
    script.answers = 2

    assert [client.enqueue("x").existing for _ in range(3)] == [False] * 3


def test_a_close_tells_whoever_waits(client: Client, script: Script) -> None:
    script.answers = 0
    with futures.ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(client.enqueue_many, "x", itertools.repeat("y" * 1000, 30_000))
        assert script.has_seen.wait(PATIENCE_S)
        client.close()
        with pytest.raises(errors.EnqueueManyError) as ended:
            waiting.result(PATIENCE_S)

    assert {type(one) for one in ended.value.outcomes} == {errors.CallCancelledError}


def test_a_close_amid_answers_leaves_no_thread_that_fails(target: str) -> None:
    for _ in range(20):
        client = Client(target)
        with futures.ThreadPoolExecutor(4) as pool:
            running = [pool.submit(client.enqueue_many, "x", range(2_000)) for _ in range(4)]
            client.close()
        ends = {type(one.exception(PATIENCE_S)) for one in running}
        assert ends <= {type(None), errors.EnqueueManyError}


async def test_a_close_is_no_end_of_the_tasks_that_wait(target: str, script: Script) -> None:
    script.answers = 0
    client = AsyncClient(target)
    waiting = asyncio.create_task(client.enqueue("x"))
    await asyncio.to_thread(script.has_seen.wait, PATIENCE_S)
    await client.close()

    with pytest.raises(errors.CallCancelledError, match="this client is closed"):
        await waiting
    with pytest.raises(errors.CallCancelledError, match="this client is closed"):
        await client.get("exec_000000000000000000000000000")


async def test_an_asyncio_client_outlives_the_cancel_of_its_own_task(
    target: str, script: Script
) -> None:
    async with AsyncClient(target, call_timeout=PATIENCE_S) as client:
        script.answers = 0
        waiting = asyncio.create_task(client.enqueue("x"))
        await asyncio.to_thread(script.has_seen.wait, PATIENCE_S)
        for task in asyncio.all_tasks() - {asyncio.current_task(), waiting}:
            task.cancel()
        with pytest.raises(errors.CallCancelledError, match="own task was cancelled"):
            await waiting

        script.answers = 1
        assert (await client.enqueue("x", request_id="b")).execution_id == "b"


async def test_a_task_that_was_cancelled_before_is_told_that_its_enqueue_is_late(
    target: str, script: Script
) -> None:
    script.answers = 0
    async with AsyncClient(target) as client:

        async def end_with_an_enqueue() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await client.enqueue("x", call_timeout=0.05)

        task = asyncio.create_task(end_with_an_enqueue())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(errors.CallTimeoutError, match="did not answer within"):
            await task
