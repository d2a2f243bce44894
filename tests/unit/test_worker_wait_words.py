"""What a callable is told of its waits: why there is no input, and what was given wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backlane import Context, errors
from backlane.worker.stepping import CLOCKS_MS
from tests.unit.fake_host import Host
from tests.unit.test_worker_waits import output

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


def test_a_wait_with_a_time_that_a_client_has_resumed_says_so(host: Host) -> None:
    async def work(ctx: Context) -> str:
        try:
            await ctx.wait_for_input(timeout=60)
        except errors.NoInputError as error:
            return error.why
        return "none"

    host.run(work)
    host.end_wait("user_input")
    [wait] = host.steps.values()
    wait.ended_at = wait.wait_until - CLOCKS_MS - 1
    assert output(host.run(work)) == "the execution was resumed without it"
    wait.ended_at = wait.wait_until - CLOCKS_MS
    assert output(host.run(work)) == "its time has passed"


def test_a_reason_and_a_key_that_the_server_would_refuse_are_told_by_name(host: Host) -> None:
    async def reason(ctx: Context) -> None:
        await ctx.wait_for_input("holiday")  # type: ignore[arg-type]  # that is the test

    async def key(ctx: Context) -> None:
        await ctx.wait_for_input(key="é" * 65)

    assert host.run(reason).error.message.startswith(
        "ValueError: reason 'holiday' is not one of approval, user_input, "
    )
    assert host.run(key).error.message.startswith(
        "ValueError: the key of an input must have 1 to 128 bytes: 'éé"
    )
