"""Children of a callable: spawned once, awaited without a worker."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from backlane import (
    Child,
    ChildMode,
    Context,
    InlineMode,
    declare,
    from_spawn_mode,
    should_run_background,
)
from backlane.errors import ExecutionFailedError, NotFinishedError
from backlane.schema.values import from_value
from backlane.testing import FakeContext
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from tests.unit.fake_host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator


@declare(name="text.summarise")
def summarise(text: str) -> str:
    raise NotImplementedError


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def output(result: Any) -> Any:  # noqa: ANN401  # of any kind
    assert isinstance(result, api.CompleteResult), result
    return from_value(result.output)


async def parent(ctx: Context) -> str:
    child = await ctx.spawn(summarise, "a long text")
    return f"{await child}!"


def test_a_parent_is_suspended_until_its_child_has_ended(host: Host) -> None:
    suspended = host.run(parent)
    [child] = host.children
    [wait] = suspended.waits
    assert (child, records.WAIT_REASON_SUB_AGENT) == (wait.child_execution_id, wait.reason)
    assert (
        host.children[child].callable_name,
        host.children[child].input,
    ) == ("text.summarise", '"a long text"')
    host.end_child(child, "short")
    assert output(host.run(parent)) == "short!"
    assert len(host.children) == 1


def test_a_spawn_whose_answer_was_lost_is_repeated_and_makes_one_child(host: Host) -> None:
    host.away = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED]
    host.run(parent)
    assert len(host.children) == 1


def test_a_later_attempt_finds_the_child_of_the_earlier_one(host: Host) -> None:
    async def work(ctx: Context) -> str:
        child = await ctx.spawn(summarise, "a long text")
        if len(attempts) == 0:
            attempts.append(child.execution_id)
            raise ConnectionError
        return child.execution_id

    attempts: list[str] = []
    host.run(work)
    assert output(host.run(work)) == attempts[0]
    assert len(host.children) == 1


def test_children_of_one_step_name_run_at_once_with_keys(host: Host) -> None:
    async def work(ctx: Context) -> list[str]:
        children = [await ctx.spawn(summarise, text, key=text) for text in ("a", "b")]
        return list(await asyncio.gather(*children))

    suspended = host.run(work)
    assert sorted(host.children) == sorted(wait.child_execution_id for wait in suspended.waits)
    first, second = host.children
    host.end_child(second, "of b")
    [wait] = host.run(work).waits
    assert wait.child_execution_id == first
    host.end_child(first, "of a")
    assert output(host.run(work)) == ["of a", "of b"]


def test_a_wait_that_another_one_has_outrun_is_ended_by_the_worker(host: Host) -> None:
    async def work(ctx: Context) -> list[str]:
        children = [await ctx.spawn(summarise, text, key=text) for text in ("a", "b")]
        return list(await asyncio.gather(*children))

    host.run(work)
    first, second = host.children
    host.end_child(first, "of a")
    # The second one has ended as well, but the suspension was over by then.
    host.children[second].CopyFrom(host.children[first])
    assert output(host.run(work)) == ["of a", "of a"]
    waits = [step for step in host.steps.values() if step.name == "child"]
    assert [(step.state, step.output) for step in waits] == [
        (records.STEP_STATE_COMPLETED, "ended"),
        (records.STEP_STATE_COMPLETED, "ended"),
    ]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_spawn_inside_of_a_step_is_found_inside_of_it_again(
    host: Host,
    is_async: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    children: list[str] = []

    async def work(ctx: Context) -> list[str]:
        async def outer() -> None:
            children.append((await ctx.spawn(summarise, "a")).execution_id)
            if len(children) == 1:
                raise ConnectionError

        await ctx.step("outer", outer)
        return children

    def plain(ctx: Context) -> list[str]:
        def outer() -> None:
            child: Any = ctx.spawn(summarise, "a")
            children.append(child.execution_id)
            if len(children) == 1:
                raise ConnectionError

        ctx.step("outer", outer)
        return children

    function = work if is_async else plain
    host.run(function)
    # The spawn is recorded after the beginning of the step around it.
    assert [step.name for step in host.steps.values()] == ["outer", "text.summarise"]
    [first, again] = output(host.run(function))
    assert first == again
    assert len(host.children) == 1


def test_a_spawn_after_a_failed_step_of_its_name_is_recorded_after_it(host: Host) -> None:
    async def work(ctx: Context) -> str:
        async def fails() -> None:
            raise ConnectionError

        with contextlib.suppress(ConnectionError):
            await ctx.step("text.summarise", fails)
        return str(await (await ctx.spawn(summarise, "a")))

    host.run(work)
    [child] = host.children
    host.end_child(child, "short")
    assert output(host.run(work)) == "short"


def test_a_spawn_in_the_place_of_a_step_that_was_not_carried_over_stands_there(host: Host) -> None:
    async def work(ctx: Context) -> str:
        child = await ctx.spawn(summarise, "a")
        if not attempts:
            attempts.append(child.execution_id)
            raise ConnectionError
        return child.execution_id

    attempts: list[str] = []
    host.steps["step_old"] = records.Step(
        id="step_old", name="text.summarise", state=records.STEP_STATE_FAILED
    )
    host.run(work)
    assert output(host.run(work)) == attempts[0]
    assert len(host.children) == 1


def test_the_error_of_a_child_reaches_the_callable(host: Host) -> None:
    async def work(ctx: Context) -> str:
        child = await ctx.spawn("fails")
        try:
            await child
        except ExecutionFailedError as error:
            return str(error.execution.status)
        raise AssertionError

    host.run(work)
    host.end_child(next(iter(host.children)), fails=True)
    assert output(host.run(work)) == "failed"


def test_a_wait_whose_time_has_passed_is_over_in_every_attempt(host: Host) -> None:
    async def work(ctx: Context) -> str:
        child = await ctx.spawn(summarise, "a long text")
        try:
            return str(await child.result(timeout=5))
        except NotFinishedError:
            if not late:
                late.append(child.execution_id)
                raise ConnectionError from None
            return "too late"

    late: list[str] = []
    [wait] = host.run(work).waits
    assert wait.wait_ms > 0
    host.end_wait("child")
    host.run(work)
    # The child ends before the next attempt, which takes the same way as the one before.
    host.end_child(late[0], "short")
    assert output(host.run(work)) == "too late"


def test_a_resumed_execution_waits_again_for_its_child(host: Host) -> None:
    host.run(parent)
    host.end_wait("child")
    [wait] = host.run(parent).waits
    [child] = host.children
    assert wait.child_execution_id == child
    host.end_child(child, "short")
    assert output(host.run(parent)) == "short!"


def test_a_plain_callable_spawns_and_waits_without_await(host: Host) -> None:
    def work(ctx: Context) -> str:
        child: Any = ctx.spawn(summarise, "a long text")
        assert isinstance(child, Child)
        return f"{child.result()}!"

    host.away = [grpc.StatusCode.UNAVAILABLE]
    host.run(work)
    [child] = host.children
    host.end_child(child, "short")
    assert output(host.run(work)) == "short!"


def test_a_step_in_the_place_of_a_spawn_is_a_mismatch(host: Host) -> None:
    async def nothing() -> None:
        """Do nothing."""

    async def work(ctx: Context) -> None:
        if not host.children:
            await ctx.spawn(summarise, "a", name="one")
            raise ConnectionError
        await ctx.step("one", nothing)

    host.run(work)
    failed = host.run(work)
    assert failed.error.code == "STEP_MISMATCH"


def test_a_spawn_takes_no_request_id_and_no_dedup_key(host: Host) -> None:
    async def work(ctx: Context) -> None:
        options: dict[str, Any] = {"dedup_key": "one"}
        await ctx.spawn(summarise, "a", **options)

    failed = host.run(work)
    assert "dedup_key is no option of a spawn" in failed.error.message
    assert not host.children


@pytest.mark.parametrize(
    ("mode", "is_background"),
    [
        (InlineMode(), False),
        (ChildMode(background=False), False),
        (ChildMode(background=True), True),
        (ChildMode(background=True, inherit_inbox=True, policies={"budget": 1}), True),
    ],
)
def test_only_a_background_child_becomes_an_execution(
    mode: InlineMode | ChildMode,
    is_background: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    assert should_run_background(mode) is is_background
    made = from_spawn_mode(
        mode, execution_id="exec_1", tenant_id="acme", callable_name="work", input="1"
    )
    assert (made is not None) is is_background
    if made is not None:
        shown = (made.status, made.callable_name, made.tenant_id, made.input)
        assert shown == ("queued", "work", "acme", "1")
        assert (made.is_silent, made.requires_result) == (True, False)


def test_the_mode_of_a_spawned_record_is_that_of_its_config() -> None:
    config = records.BackgroundExecutionConfig(mode=records.BACKGROUND_EXECUTION_MODE_SILENT)
    made = from_spawn_mode(
        ChildMode(), execution_id="exec_1", tenant_id="a", callable_name="b", config=config
    )
    assert made is not None
    assert (made.is_silent, made.requires_result) == (True, True)


def test_a_fake_context_gives_children_the_outputs_of_the_test() -> None:
    ctx = FakeContext(children={"text.summarise": "short"})
    assert asyncio.run(parent(ctx)) == "short!"
    assert ctx.spawned == [("text.summarise", '"a long text"')]
    failing = FakeContext(children={"text.summarise": ConnectionError("gone")})
    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(parent(failing))
    with pytest.raises(LookupError, match="children="):
        asyncio.run(parent(FakeContext()))
