"""Streams through the transport: order, pausing, ends, stuck clients, and the limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import grpc
import pytest

from backlane.errors import (
    BacklaneError,
    DrainingError,
    InternalError,
    RateLimitedError,
    from_rpc_error,
)
from backlane.server.refusal import refusal
from tests.unit.fake_core import TALK, WORK
from tests.unit.serving import Served, serving

if TYPE_CHECKING:
    StreamCall = grpc.aio.StreamStreamCall[bytes, bytes]

MESSAGE, RESUME = -1, -2
FLOOD_MESSAGES = 50


async def opened(served: Served) -> tuple[StreamCall, int]:
    """A stream the core has, and its ticket."""
    count = len(served.core.told("open"))
    call = served.talk(TALK)
    _, ticket, *_ = await served.core.until("open", count + 1)
    assert isinstance(ticket, int)
    return call, ticket


async def refused(call: StreamCall) -> BacklaneError:
    """The error that a stream ends with."""

    async def read_all() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await read_all()
    return from_rpc_error(raised.value)


async def test_messages_go_both_ways_in_order_and_each_departure_is_told() -> None:
    async with serving() as served:
        call, ticket = await opened(served)
        for message in (b"a", b"bb"):
            await call.write(message)
        for message in (b"ccc", b"", b"d"):
            served.core.complete(ticket, MESSAGE, message)

        assert [await call.read() for _ in range(3)] == [b"ccc", b"", b"d"]
        await served.core.until("send", 2)
        assert served.core.told("send") == [("send", ticket, b"a"), ("send", ticket, b"bb")]
        await served.core.until("written", 3)
        assert [entry[2] for entry in served.core.told("written")] == [3, 0, 1]
        call.cancel()


async def test_a_client_that_finished_is_told_and_the_stream_ends_after_its_messages() -> None:
    async with serving() as served:
        call, ticket = await opened(served)
        await call.done_writing()
        assert await served.core.until("half_close") == ("half_close", ticket)
        served.core.complete(ticket, MESSAGE, b"last")
        served.core.complete(ticket, 0)

        assert await call.read() == b"last"
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        assert await served.core.until("close") == ("close", ticket)


async def test_an_error_ends_the_stream_after_the_messages_before_it() -> None:
    async with serving() as served:
        call, ticket = await opened(served)
        served.core.complete(ticket, MESSAGE, b"before")
        served.core.complete(ticket, *refusal("DRAINING", "stopping"))

        assert await call.read() == b"before"
        assert type(await refused(call)) is DrainingError


async def paused(served: Served) -> tuple[StreamCall, int]:
    """A stream whose first message, `one`, made the core pause it."""
    call, ticket = await opened(served)
    served.core.takes_more = False
    await call.write(b"one")
    await served.core.until("send", 1)
    return call, ticket


async def test_reading_pauses_until_the_core_resumes_it() -> None:
    async with serving() as served:
        call, ticket = await paused(served)
        await call.write(b"two")
        # A whole round trip on the same stream, so that "two" had its chance to be read.
        served.core.complete(ticket, MESSAGE, b"ping")
        assert await call.read() == b"ping"
        assert served.core.told("send") == [("send", ticket, b"one")]

        served.core.complete(ticket, RESUME)

        assert await served.core.until("send", 2) == ("send", ticket, b"two")
        call.cancel()


async def test_a_paused_stream_still_ends() -> None:
    async with serving() as served:
        call, ticket = await paused(served)
        served.core.complete(ticket, 0)

        assert await call.read() is grpc.aio.EOF
        assert await served.core.until("close") == ("close", ticket)


async def test_a_client_that_cancels_is_closed_and_nothing_comes_after_that() -> None:
    async with serving() as served:
        call, ticket = await opened(served)
        await call.write(b"one")
        await served.core.until("send", 1)
        call.cancel()

        assert await served.core.until("close") == ("close", ticket)
        assert await served_still_answers(served)
        # grpc may have ended the messages before it cancelled the call; the core is told of both.
        told = [name for name, which, *_ in served.core.log if which == ticket]
        assert told in (["open", "send", "close"], ["open", "send", "half_close", "close"])


async def served_still_answers(served: Served) -> bool:
    call, ticket = await opened(served)
    served.core.complete(ticket, 0)
    return await call.code() is grpc.StatusCode.OK


async def test_a_completion_for_a_closed_stream_is_dropped() -> None:
    async with serving() as served:
        call, ticket = await opened(served)
        call.cancel()
        await served.core.until("close")
        served.core.complete(ticket, MESSAGE, b"late")
        other, other_ticket = await opened(served)
        served.core.complete(other_ticket, MESSAGE, b"for the other")

        assert await other.read() == b"for the other"
        other.cancel()


def flood(served: Served, ticket: int) -> None:
    """Send more than HTTP/2, whose windows grow, and the sockets hold while nobody reads."""
    message = bytes(3_000_000)
    for _ in range(FLOOD_MESSAGES):
        served.core.complete(ticket, MESSAGE, message)


async def test_a_client_that_takes_nothing_for_too_long_is_closed_with_a_reason() -> None:
    async with serving(bounds={"write_limit_s": 0.1}) as served:
        call, ticket = await opened(served)
        flood(served, ticket)

        assert await served.core.until("close") == ("close", ticket)
        assert len(served.core.told("written")) < FLOOD_MESSAGES
        error = await refused(call)
    assert type(error) is RateLimitedError
    assert error.metadata == {"write_limit_ms": "100"}


async def test_a_stuck_client_that_vanishes_gives_its_place_back() -> None:
    async with serving(bounds={"write_limit_s": 0.1}, max_streams=1) as served:
        async with grpc.aio.insecure_channel(served.target) as channel:
            stuck: StreamCall = channel.stream_stream(TALK)()
            _, ticket, *_ = await served.core.until("open")
            flood(served, cast("int", ticket))
            await served.core.until("close")
            stuck.cancel()
        served.core.is_echo = True
        # grpc tells the server of it in its own time, and others are refused until then.
        codes = set()
        while grpc.StatusCode.OK not in codes:
            call = served.talk(TALK)
            await call.done_writing()
            codes.add(await call.code())

    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_a_client_that_reads_slowly_but_steadily_is_kept() -> None:
    async with serving(bounds={"write_limit_s": 0.3}) as served:
        call, ticket = await opened(served)
        for _ in range(40):
            served.core.complete(ticket, MESSAGE, bytes(1_000_000))
            assert len(await read_message(call)) == 1_000_000
        assert served.core.told("close") == []
        call.cancel()


async def read_message(call: StreamCall) -> bytes:
    message = await call.read()
    assert isinstance(message, bytes)
    return message


async def test_a_stream_beyond_the_bound_is_refused_and_a_freed_place_is_given() -> None:
    async with serving(max_streams=1) as served:
        first, _ = await opened(served)
        error = await refused(served.talk(TALK))
        first.cancel()
        await served.core.until("close")
        second, ticket = await opened(served)
        served.core.complete(ticket, 0)

        assert await second.read() is grpc.aio.EOF
    assert type(error) is RateLimitedError
    assert error.metadata == {"max_streams": "1"}
    assert error.retry_after_s == 5.0


async def test_an_exception_at_the_opening_reaches_the_client_as_internal_alone() -> None:
    async with serving() as served:
        served.core.raises = RuntimeError("the secret")
        error = await refused(served.talk(TALK))

    assert isinstance(error, InternalError)
    assert "secret" not in str(error)


async def test_an_exception_while_reading_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as served:

        def broken(stream: int, message: bytes) -> bool:
            raise RuntimeError(f"the secret of {stream} {message!r}")

        monkeypatch.setattr(served.core, "send", broken)
        call, ticket = await opened(served)
        await call.write(b"one")
        error = await refused(call)

        assert await served.core.until("close") == ("close", ticket)
    assert isinstance(error, InternalError)
    assert "secret" not in str(error)


async def test_streams_answer_each_other_independently() -> None:
    async with serving(is_echo=True) as served:

        async def converse(name: bytes) -> list[bytes]:
            call = served.talk(TALK)
            heard = []
            for turn in range(20):
                await call.write(name + bytes([turn]))
                heard.append(await read_message(call))
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            return heard

        names = [b"a", b"b", b"c", b"d"]
        heard = await asyncio.gather(*map(converse, names))

    assert heard == [[name + bytes([turn]) for turn in range(20)] for name in names]


async def test_a_stream_whose_first_message_does_not_come_is_ended() -> None:
    async with serving(bounds={"hello_limit_s": 0.05}) as served:
        silent, ticket = await opened(served)
        error = await refused(silent)

        assert await served.core.until("close") == ("close", ticket)
    assert type(error) is RateLimitedError
    assert error.metadata == {"hello_limit_ms": "50"}


async def test_a_stream_that_said_something_may_be_silent_afterwards() -> None:
    async with serving(bounds={"hello_limit_s": 0.05}) as served:
        talker, ticket = await opened(served)
        await talker.write(b"hello")
        await served.core.until("send")
        # The limit on this one passes for both.
        silent, _ = await opened(served)
        await refused(silent)
        served.core.complete(ticket, MESSAGE, b"still here")

        assert await talker.read() == b"still here"
        talker.cancel()


@pytest.mark.parametrize(("greedy", "other"), [(WORK, TALK), (TALK, WORK)])
async def test_neither_workers_nor_producers_can_take_all_streams(greedy: str, other: str) -> None:
    async with serving(max_streams=20) as served:
        taken = [served.talk(greedy) for _ in range(18)]
        await served.core.until("open", 18)
        error = await refused(served.talk(greedy))
        kept = [served.talk(other) for _ in range(2)]
        await served.core.until("open", 20)
        full = await refused(served.talk(other))
        for call in (*taken, *kept):
            call.cancel()

    assert type(error) is RateLimitedError
    assert error.metadata == {"max_streams": "20", "kept_streams": "2"}
    assert full.metadata == {"max_streams": "20"}


async def test_a_drain_answers_producers_and_ends_their_streams() -> None:
    async with serving() as served:
        producer, ticket = await opened(served)
        await producer.write(b"enqueue")
        await served.core.until("send")
        worker = served.talk(WORK)
        await worker.write(b"hello")
        await served.core.until("send", 2)
        draining = asyncio.ensure_future(served.transport.drain_producers(30))
        assert await served.core.until("half_close") == ("half_close", ticket)
        served.core.complete(ticket, MESSAGE, b"enqueued")
        served.core.complete(ticket, 0)

        assert await producer.read() == b"enqueued"
        assert type(await refused(producer)) is DrainingError
        await draining
        assert type(await refused(served.talk(TALK))) is DrainingError
        assert not worker.done()
        worker.cancel()


async def test_a_drain_ends_the_stream_of_a_worker_that_has_not_said_who_it_is() -> None:
    async with serving() as served:
        silent = served.talk(WORK)
        _, ticket, *_ = await served.core.until("open")
        await served.transport.drain_producers(30)

        assert type(await refused(silent)) is DrainingError
        assert await served.core.until("close") == ("close", ticket)


async def test_a_producer_that_half_closed_before_a_drain_ends_as_ever() -> None:
    async with serving() as served:
        producer, ticket = await opened(served)
        await producer.done_writing()
        await served.core.until("half_close")
        draining = asyncio.ensure_future(served.transport.drain_producers(30))
        served.core.complete(ticket, 0)

        assert await producer.code() is grpc.StatusCode.OK
        await draining
        assert len(served.core.told("half_close")) == 1


async def test_stuck_streams_are_ended_sooner_while_they_hold_too_many_bytes() -> None:
    bounds = {"unread_bytes": 1_000_000, "hurry_s": 0.05}
    async with serving(bounds=bounds) as served:
        call, ticket = await opened(served)
        flood(served, ticket)

        assert await served.core.until("close") == ("close", ticket)
        assert served.transport._unread.bytes == 0
        call.cancel()
