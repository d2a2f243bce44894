"""A good client succeeds beside each attack, and the server's memory comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.hostile.attacks import ATTACKS, prepare
from tests.hostile.good_client import GoodClient
from tests.hostile.memory import AFTER_BYTES_MAX, ATTACK_BYTES_MAX, Peak, kept_bytes

if TYPE_CHECKING:
    from tests.conftest import StartServer

EXECUTIONS = 30
ROUNDS = 2
"""An attack is repeated, since what one leaves behind adds up."""


@pytest.mark.parametrize("name", list(ATTACKS))
async def test_a_good_client_succeeds_beside_it(start_server: StartServer, name: str) -> None:
    server = start_server()
    await prepare(server.target)
    async with GoodClient(server.target) as good:
        await good.live(EXECUTIONS)
        peak = Peak(server.process.pid)
        async with peak.watched():
            for _ in range(ROUNDS):
                attack = asyncio.ensure_future(ATTACKS[name](server.target))
                await good.live(EXECUTIONS)
                if name == "flood":
                    await attack  # It checks that each of its calls was answered.
                attack.cancel()
                await asyncio.wait({attack})
                await good.live(EXECUTIONS)
        kept = await kept_bytes(server.process.pid, peak.before)

    assert peak.growth < ATTACK_BYTES_MAX
    assert kept < AFTER_BYTES_MAX
    assert server.stop() == 0
    assert "Traceback" not in server.read_log()
