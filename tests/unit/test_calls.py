"""Unary calls through the transport: replies, errors, callers that leave, and the limit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, cast

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from backlane.errors import (
    BacklaneError,
    InternalError,
    LeaseLostError,
    RateLimitedError,
    UnauthenticatedError,
    from_rpc_error,
)
from backlane.server.calls import TOGETHER, TURNS
from backlane.server.refusal import RefusedError, refusal
from tests.unit.fake_core import ASK, LEASE, TALK
from tests.unit.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from backlane._core import Principal


async def refused(call: grpc.aio.UnaryUnaryCall[bytes, bytes]) -> BacklaneError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value)


async def ticket_of(served: Served, count: int = 1) -> int:
    """The ticket of the count-th call, once the core has it."""
    _, ticket, *_ = await served.core.until("call", count)
    assert isinstance(ticket, int)
    return ticket


async def test_a_reply_is_the_completion_of_its_own_ticket() -> None:
    async with serving() as served:
        first = served.ask(b"one", path=ASK)
        await ticket_of(served)
        second = served.ask(b"two", path=ASK)
        await ticket_of(served, 2)

        served.core.complete(2, 0, b"TWO")
        served.core.complete(1, 0, b"ONE")

        assert await first == b"ONE"
        assert await second == b"TWO"
        assert served.core.told("abandon") == []


async def test_the_core_is_woken_for_a_call_and_never_more_often_than_called() -> None:
    async with serving(is_echo=True) as served:
        await asyncio.gather(*(served.ask(b"", path=ASK) for _ in range(50)))

        assert 1 <= served.core.wakes <= 50


async def test_a_lone_call_is_decided_at_once() -> None:
    async with serving() as served:
        call = served.ask(b"", path=ASK)
        ticket = await ticket_of(served)

        assert served.core.wakes == 1
        served.core.complete(ticket, 0, b"reply")
        assert await call == b"reply"


@contextlib.asynccontextmanager
async def one_in_hand(served: Served) -> AsyncIterator[None]:
    """A call whose request does not come, so that others wait for it."""
    method: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = served.channel.stream_unary(ASK)
    call = method()
    while not served.transport._calls._arriving:  # noqa: ASYNC110  # grpc tells nobody
        await asyncio.sleep(0)
    yield
    call.cancel()


async def ask_from_inside(served: Served, count: int) -> Sequence[asyncio.Future[bytes]]:
    """Calls that have reached the core within one turn of the loop."""
    asked = [asyncio.ensure_future(served.transport.ask(ASK, b"")) for _ in range(count)]
    await asyncio.sleep(0)
    assert len(served.core.told("call")) == count
    return asked


async def test_calls_beside_others_wait_a_few_turns_and_share_a_wake() -> None:
    async with serving() as served, one_in_hand(served):
        asked = await ask_from_inside(served, TOGETHER - 1)
        assert served.core.wakes == 0
        for _ in range(TURNS):
            await asyncio.sleep(0)

        assert served.core.wakes == 1
        for ticket in range(1, TOGETHER):
            served.core.complete(ticket, 0, b"")
        await asyncio.gather(*asked)


async def test_enough_calls_for_one_commit_wait_for_no_more() -> None:
    async with serving() as served, one_in_hand(served):
        asked = await ask_from_inside(served, TOGETHER)
        assert served.core.wakes == 1
        for ticket in range(1, TOGETHER + 1):
            served.core.complete(ticket, 0, b"")
        await asyncio.gather(*asked)
        assert served.core.wakes == 1


async def test_an_empty_reply_is_a_reply() -> None:
    async with serving(is_echo=True) as served:
        assert await served.ask(b"", path=ASK) == b""


async def test_a_method_the_core_does_not_have_is_unimplemented() -> None:
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await served.ask(b"", path="/test.Service/Nothing")

    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_core_is_told_how_long_the_caller_waits() -> None:
    async with serving() as served:
        bounded = served.ask(b"", path=ASK, timeout_s=40)
        await ticket_of(served)
        unbounded = served.ask(b"", path=ASK)
        await ticket_of(served, 2)
        timeouts = [entry[4] for entry in served.core.told("call")]
        bounded.cancel()
        unbounded.cancel()

    assert isinstance(timeouts[0], int)
    # gRPC rounds the deadline it sends.
    assert 30_000 < timeouts[0] < 45_000
    assert timeouts[1] is None


async def test_an_error_of_the_core_reaches_the_client_with_its_details() -> None:
    lost = refusal("LEASE_LOST", "the lease is lost", metadata={"execution_id": "exec_1"})
    async with serving() as served:
        call = served.ask(b"", path=ASK)
        served.core.complete(await ticket_of(served), *lost)
        error = await refused(call)

    assert type(error) is LeaseLostError
    assert error.message == "the lease is lost"
    assert error.metadata == {"execution_id": "exec_1"}


async def test_an_error_too_long_for_the_trailers_keeps_its_reason() -> None:
    info, request = any_pb2.Any(), any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="LEASE_LOST", domain="backlane"))
    violation = error_details_pb2.BadRequest.FieldViolation(field="f", description="x" * 10_000)
    request.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    status = status_pb2.Status(code=9, message="é" * 5_000, details=[info, request])
    async with serving() as served:
        call = served.ask(b"", path=ASK)
        ticket = await ticket_of(served)
        served.core.complete(ticket, 9, status.SerializeToString(), status.message)
        error = await refused(call)

    assert error.reason == "LEASE_LOST"
    assert error.message == "é" * 499 + "…"


@pytest.mark.parametrize("path", [ASK, LEASE])
async def test_a_caller_that_leaves_while_it_waits_is_abandoned(path: str) -> None:
    async with serving() as served:
        call = served.ask(b"", path=path)
        ticket = await ticket_of(served)
        call.cancel()

        assert await served.core.until("abandon") == ("abandon", ticket)
        served.core.complete(ticket, 0, b"too late")
        assert await served_still_answers(served)


async def served_still_answers(served: Served) -> bool:
    served.core.is_echo = True
    return await served.ask(b"ping", path=ASK) == b"ping"


async def test_a_caller_whose_deadline_passes_is_abandoned() -> None:
    async with serving() as served:
        call = served.ask(b"", path=ASK, timeout_s=0.05)

        assert await served.core.until("abandon") == ("abandon", await ticket_of(served))
        assert (await refused(call)).code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_lease_that_left_is_written_and_not_abandoned() -> None:
    async with serving() as served:
        call = served.ask(b"", path=LEASE)
        ticket = await ticket_of(served)
        served.core.complete(ticket, 0, b"leases")

        assert await call == b"leases"
        assert await served.core.until("written") == ("written", ticket, 6)
        assert served.core.told("abandon") == []


async def test_a_lease_that_completed_after_its_caller_left_is_abandoned() -> None:
    tasks: list[asyncio.Task[object]] = []

    def note_task(_context: object) -> Principal:
        tasks.append(cast("asyncio.Task[object]", asyncio.current_task()))
        return cast("Principal", None)

    async with serving(identify=note_task) as served:
        call = served.ask(b"", path=LEASE)
        ticket = await ticket_of(served)
        future = served.transport._calls.pending[ticket]
        # The completion and the cancel meet within one turn of the loop.
        future.add_done_callback(lambda _: tasks[0].cancel())
        served.core.complete(ticket, 0, b"leases")

        assert await served.core.until("abandon") == ("abandon", ticket)
        assert served.core.told("written") == []
        call.cancel()


async def test_a_call_beyond_the_bound_is_refused_at_once_and_says_when_to_return() -> None:
    async with serving(max_in_flight=1) as served:
        parked = served.ask(b"", path=ASK)
        ticket = await ticket_of(served)
        error = await refused(served.ask(b"", path=ASK))
        served.core.complete(ticket, 0, b"done")

        assert await parked == b"done"
        assert await served_still_answers(served)
    assert type(error) is RateLimitedError
    assert error.metadata == {"max_in_flight": "1"}
    assert error.retry_after_s == 1.0


async def test_every_way_a_call_ends_gives_its_place_back() -> None:
    async with serving(max_in_flight=1) as served:
        answered = served.ask(b"", path=ASK)
        served.core.complete(await ticket_of(served, 1), 0, b"reply")
        assert await answered == b"reply"

        failed = served.ask(b"", path=ASK)
        served.core.complete(await ticket_of(served, 2), *refusal("LEASE_LOST", "lost"))
        await refused(failed)

        left = served.ask(b"", path=LEASE)
        await ticket_of(served, 3)
        left.cancel()
        await served.core.until("abandon")

        served.core.raises = RuntimeError("broken")
        await refused(served.ask(b"", path=ASK))
        served.core.raises = None

        assert await served_still_answers(served)


async def test_an_exception_is_logged_and_the_client_sees_its_correlation_id_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as served:
        served.core.raises = RuntimeError("the secret")
        error = await refused(served.ask(b"", path=ASK))

    assert isinstance(error, InternalError)
    assert "secret" not in str(error)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.correlation_id in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is served.core.raises


async def test_an_identity_decides_who_calls_and_may_refuse() -> None:
    def identify(context: grpc.aio.ServicerContext[bytes, bytes]) -> Principal:
        raise RefusedError(refusal("UNAUTHENTICATED", f"no credential from {context.peer()[:4]}"))

    async with serving(identify=identify) as served:
        error = await refused(served.ask(b"", path=ASK))

    assert type(error) is UnauthenticatedError
    assert error.message == "no credential from ipv4"
    assert served.core.log == []


async def test_a_call_from_inside_the_process_takes_the_same_road() -> None:
    async with serving() as served:
        caller = cast("Principal", object())
        asked = served.transport.ask(ASK, b"one", principal=caller, timeout_s=1.5)
        reply = asyncio.ensure_future(asked)
        ticket = await ticket_of(served)
        assert served.core.told("call") == [("call", ticket, 0, caller, 1500, b"one")]

        served.core.complete(ticket, 0, b"ONE")

        assert await reply == b"ONE"


async def test_a_refused_call_from_inside_the_process_raises_what_a_client_would_get() -> None:
    async with serving() as served:
        reply = asyncio.ensure_future(served.transport.ask(ASK, b""))
        refused_with = refusal("LEASE_LOST", "the token is stale")
        served.core.complete(await ticket_of(served), *refused_with)

        with pytest.raises(RefusedError) as raised:
            await reply

    assert raised.value.refusal == refused_with


async def test_calls_from_inside_the_process_count_among_those_in_flight() -> None:
    async with serving(max_in_flight=1) as served:
        reply = asyncio.ensure_future(served.transport.ask(ASK, b""))
        ticket = await ticket_of(served)

        assert isinstance(await refused(served.ask(b"", path=ASK)), RateLimitedError)
        with pytest.raises(RefusedError, match="1 calls in flight"):
            await served.transport.ask(ASK, b"")
        served.core.complete(ticket, 0, b"")
        await reply
        assert await served.transport.settle(0)


async def test_a_caller_inside_the_process_that_leaves_is_abandoned() -> None:
    async with serving() as served:
        reply = asyncio.ensure_future(served.transport.ask(ASK, b""))
        ticket = await ticket_of(served)
        reply.cancel()

        assert await served.core.until("abandon") == ("abandon", ticket)


async def test_a_call_from_inside_the_process_needs_a_unary_method() -> None:
    async with serving() as served:
        for path in (TALK, "/test.Service/Unknown"):
            with pytest.raises(LookupError):
                await served.transport.ask(path, b"")
