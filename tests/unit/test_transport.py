"""The transport as a whole: waiting for calls, ending calls, and a failed store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

from backlane.errors import DrainingError, from_rpc_error
from backlane.server.port import NOTICE, SERVER_TICKET
from tests.unit.fake_core import ASK, TALK
from tests.unit.serving import serving

if TYPE_CHECKING:
    from backlane.server.port import Completion


async def test_nothing_under_way_is_settled() -> None:
    async with serving() as served:
        assert await served.transport.settle(0)


async def test_it_settles_once_all_that_was_under_way_is_answered() -> None:
    async with serving() as served:
        call, stream = served.ask(b"", path=ASK), served.talk(TALK)
        _, asked, *_ = await served.core.until("call")
        _, opened, *_ = await served.core.until("open")
        settling = asyncio.ensure_future(served.transport.settle(30))
        served.core.complete(int(str(asked)), 0, b"reply")
        served.core.complete(int(str(opened)), 0)

        assert await settling
        assert await call == b"reply"
        assert await stream.read() is grpc.aio.EOF


async def test_a_call_that_came_later_does_not_hold_it_up() -> None:
    async with serving() as served:
        first = served.ask(b"", path=ASK)
        await served.core.until("call")
        settling = asyncio.ensure_future(served.transport.settle(30))
        later = served.ask(b"", path=ASK)
        await served.core.until("call", 2)
        served.core.complete(1, 0, b"reply")

        assert await settling
        assert await first == b"reply"
        later.cancel()


async def test_what_is_left_after_the_grace_is_shed_with_draining() -> None:
    async with serving() as served:
        call, stream = served.ask(b"", path=ASK), served.talk(TALK)
        _, asked, *_ = await served.core.until("call")
        _, opened, *_ = await served.core.until("open")

        assert not await served.transport.settle(0.01)
        served.transport.shed()

        for ending in (call, stream.read()):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await ending
            assert type(from_rpc_error(raised.value)) is DrainingError
        assert served.core.told("abandon") == [("abandon", asked)]
        assert await served.core.until("close") == ("close", opened)


async def test_a_call_whose_request_does_not_come_is_ended_with_draining() -> None:
    async with serving() as served:
        silent, other = served.talk(ASK), served.ask(b"", path=ASK)
        _, ticket, *_ = await served.core.until("call")
        served.transport.end_arrivals()

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await silent.read()
        assert type(from_rpc_error(raised.value)) is DrainingError
        served.core.complete(int(str(ticket)), 0, b"reply")
        assert await other == b"reply"


async def test_a_call_that_begins_after_that_is_ended_with_draining_too() -> None:
    async with serving() as served:
        served.transport.end_arrivals()
        silent = served.talk(ASK)

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await silent.read()
        assert type(from_rpc_error(raised.value)) is DrainingError


async def test_a_core_that_breaks_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as served:

        def broken() -> list[Completion]:
            raise BaseException("panic")  # noqa: TRY002  # as a panic in Rust comes

        monkeypatch.setattr(served.core, "drain", broken)
        call = served.ask(b"", path=ASK, timeout_s=0.2)
        _, ticket, *_ = await served.core.until("call")
        served.core.complete(int(str(ticket)), 0, b"lost")
        with pytest.raises(grpc.aio.AioRpcError):
            await call

    assert served.failures == ["the core broke: BaseException('panic')"]


async def test_nothing_is_delivered_once_the_store_failed() -> None:
    async with serving() as served:
        call = served.ask(b"", path=ASK)
        _, ticket, *_ = await served.core.until("call")
        served.core.complete(0, 13, b"", "fsync failed")
        served.core.complete(int(str(ticket)), 0, b"not durable")
        # Another call's way in and out shows that the loop went on.
        with pytest.raises(grpc.aio.AioRpcError):
            await served.ask(b"", path=ASK, timeout_s=0.1)

        assert served.failures == ["fsync failed"]
        assert not call.done()
        call.cancel()


async def test_a_notice_of_the_core_is_logged_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as served:
        served.core.complete(SERVER_TICKET, NOTICE, b"", "payload 7 is damaged")
        reply = served.ask(b"", path=ASK)
        _, ticket, *_ = await served.core.until("call")
        assert isinstance(ticket, int)
        served.core.complete(ticket, 0, b"reply")

        assert await reply == b"reply"
        assert served.failures == []
    assert "payload 7 is damaged" in caplog.messages
