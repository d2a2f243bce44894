"""Waits of a callable: when its execution is suspended, and how it goes on."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import TYPE_CHECKING, Any

import pytest

from backlane import Context, errors
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from tests.unit.fake_host import Host, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


def output(result: Any) -> Any:  # noqa: ANN401  # JSON
    assert isinstance(result, api.CompleteResult), result
    return from_value(result.output)


def waits(result: Any) -> list[str]:  # noqa: ANN401  # of any kind
    assert isinstance(result, api.Suspension), result
    return [point.name for point in result.waits]


def test_a_sleep_suspends_and_what_was_done_is_not_done_again(host: Host) -> None:
    ran: list[str] = []

    async def note(what: str) -> None:
        ran.append(what)

    async def work(ctx: Context) -> str:
        await ctx.step("before", note, "before")
        await ctx.sleep(dt.timedelta(hours=1))
        await ctx.step("after", note, "after")
        return "done"

    suspension = host.run(work)
    assert waits(suspension) == ["sleep"]
    [point] = suspension.waits
    assert 3_599_000 < point.wait_ms <= 3_600_000
    host.end_wait("sleep")

    assert output(host.run(work)) == "done"
    assert ran == ["before", "after"]


def test_a_plain_callable_sleeps_without_await(host: Host) -> None:
    def work(ctx: Context) -> str:
        ctx.sleep(60)
        return "done"

    assert waits(host.run(work)) == ["sleep"]
    host.end_wait("sleep")
    assert output(host.run(work)) == "done"


def test_a_sleep_until_an_instant_keeps_the_instant_of_the_first_attempt(host: Host) -> None:
    async def work(ctx: Context) -> None:
        await ctx.sleep_until(dt.datetime.now(dt.UTC) + dt.timedelta(days=1))

    first = host.run(work).waits[0]
    again = host.run(work).waits[0]

    assert first.step_id == again.step_id
    assert first.wait_until == again.wait_until


def test_a_short_sleep_and_one_into_the_past_stay_in_the_worker_and_are_recorded(
    host: Host,
) -> None:
    async def work(ctx: Context) -> str:
        await ctx.sleep(0.01)
        await ctx.sleep_until(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        return "done"

    def plain(ctx: Context) -> str:
        ctx.sleep(0.01)
        return "done"

    assert output(host.run(work)) == "done"
    assert host.completed == ["sleep", "sleep"]
    assert output(host.run(work)) == "done"
    assert output(host.run(plain)) == "done"
    assert len(host.steps) == 2


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ('{"ok":true}', Any, {"ok": True}),
        ("yes", Any, "yes"),
        ("true", bool, True),
        ("3", str, "NotJson"),
        ("plain", str, "plain"),
        ('"2026-01-02"', dt.date, "2026-01-02"),
    ],
)
def test_an_input_is_read_as_its_type(
    host: Host,
    text: str,
    kind: Any,  # noqa: ANN401  # an annotation
    expected: object,
) -> None:
    async def work(ctx: Context) -> object:
        try:
            got = await ctx.wait_for_input("approval", key="boss", type=kind)
        except errors.StepOutputError:
            return "NotJson"
        return got.isoformat() if isinstance(got, dt.date) else got

    suspension = host.run(work)
    assert waits(suspension) == ["boss"]
    assert suspension.waits[0].key == "boss"
    assert suspension.waits[0].reason == records.WAIT_REASON_APPROVAL
    assert not suspension.waits[0].HasField("wait_ms")
    host.end_wait("boss", text)

    assert output(host.run(work)) == expected


def test_a_wait_without_its_input_says_why(host: Host) -> None:
    async def late(ctx: Context) -> str:
        try:
            await ctx.wait_for_input(timeout=60)
        except TimeoutError as error:
            return str(error)
        return "none"

    async def resumed(ctx: Context) -> str:
        try:
            await ctx.wait_for_input(key="other")
        except errors.NoInputError as error:
            return f"{error.key}: {error.why}"
        return "none"

    host.run(late)
    host.end_wait("user_input")
    assert output(host.run(late)) == "there is no input user_input: its time has passed"
    host.run(resumed)
    host.end_wait("other")
    assert output(host.run(resumed)) == "other: the execution was resumed without it"


@pytest.mark.parametrize("kind", ["gather", "group", "wait", "wait_for", "task"])
def test_branches_wait_together(host: Host, kind: str) -> None:
    async def ask(ctx: Context, key: str) -> str:
        answer: str = await ctx.wait_for_input(key=key)
        return answer

    async def work(ctx: Context) -> list[str]:
        if kind == "gather":
            return list(await asyncio.gather(ask(ctx, "a"), ask(ctx, "b")))
        if kind == "group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(ask(ctx, key)) for key in "ab"]
            return [task.result() for task in tasks]
        tasks = [asyncio.create_task(ask(ctx, key)) for key in "ab"]
        if kind == "wait":
            await asyncio.wait(tasks)
        if kind == "wait_for":
            return [await asyncio.wait_for(task, 30) for task in tasks]
        return [await task for task in tasks]

    assert waits(host.run(work)) == ["a", "b"]
    host.end_wait("a", '"A"')
    assert waits(host.run(work)) == ["b"]
    host.end_wait("b", '"B"')
    assert output(host.run(work)) == ["A", "B"]


def test_a_branch_that_works_is_waited_for(host: Host) -> None:
    ended: list[str] = []

    async def work(ctx: Context) -> list[str]:
        async def slow() -> str:
            await asyncio.sleep(0.05)
            ended.append("step")
            return "ok"

        async def busy() -> str:
            got = await ctx.step("slow", slow)
            await asyncio.sleep(0.05)
            ended.append("busy")
            return got

        return list(await asyncio.gather(busy(), ctx.wait_for_input(key="a")))

    assert waits(host.run(work)) == ["a"]
    assert ended == ["step", "busy"]
    host.end_wait("a", "1")
    assert output(host.run(work)) == ["ok", 1]


def test_a_sleep_beside_work_that_takes_longer_is_over_without_a_suspension(host: Host) -> None:
    async def work(ctx: Context) -> str:
        async def slow() -> None:
            await asyncio.sleep(1.3)

        await asyncio.gather(ctx.step("slow", slow), ctx.sleep(1.0))
        return "done"

    assert output(host.run(work)) == "done"
    assert sorted(host.completed) == ["sleep", "slow"]


def test_code_that_catches_exceptions_and_cleans_up_is_unwound(host: Host) -> None:
    cleaned: list[str] = []

    async def work(ctx: Context) -> str:
        try:
            try:
                await ctx.wait_for_input(key="a")
            except Exception:  # noqa: BLE001  # that is the test
                cleaned.append("swallowed")
        finally:
            cleaned.append(str(ctx.stop_reason))
        return "done"

    assert waits(host.run(work)) == ["a"]
    assert cleaned == ["suspended"]


def test_code_that_swallows_the_signal_is_suspended_all_the_same(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []

    async def work(ctx: Context) -> str:
        try:
            await ctx.wait_for_input(key="a")
        except BaseException:  # noqa: BLE001  # that is the test
            try:
                await ctx.step("more", asyncio.sleep, 0)
            except asyncio.CancelledError:
                refused.append("step")
        return "done"

    assert waits(host.run(work)) == ["a"]
    assert refused == ["step"]
    assert "which it should not" in caplog.text

    async def worse(ctx: Context) -> str:
        try:
            return str(await ctx.wait_for_input(key="a"))
        finally:
            raise ValueError("cleanup")

    assert waits(host.run(worse)) == ["a"]
    assert "failed while it stopped" in caplog.text
    assert host.steps.keys() == {next(iter(host.steps))}


def test_a_task_that_nobody_awaits_does_not_outlive_the_suspension(host: Host) -> None:
    ended = threading.Event()

    async def work(ctx: Context) -> None:
        async def background() -> None:
            try:
                await ctx.wait_for_input(key="b")
            finally:
                ended.set()

        task = asyncio.create_task(background())
        await ctx.wait_for_input(key="a")
        await task

    assert sorted(waits(host.run(work))) == ["a", "b"]
    assert ended.wait(10)


def test_a_wait_inside_of_a_step_is_refused(host: Host) -> None:
    async def work(ctx: Context) -> None:
        async def inner() -> None:
            await ctx.sleep(60)

        await ctx.step("outer", inner)

    assert host.run(work).error.code == "STEP_ERROR"


def test_a_pause_is_yielded_to_at_the_next_step(host: Host) -> None:
    is_there, go, ran = threading.Event(), threading.Event(), []

    def first() -> None:
        ran.append("first")
        is_there.set()
        assert go.wait(10)

    def work(ctx: Context) -> str:
        ctx.step("first", first)
        ctx.step("second", ran.append, "second")
        return "done"

    token = host.lease(work)
    assert is_there.wait(10)
    host.pause(token)
    while not next(iter(host.crew.running())).context.pause_requested:
        threading.Event().wait(0.001)
    go.set()

    assert waits(host.result()) == []
    assert ran == ["first"]
    assert output(host.run(work)) == "done"
    assert ran == ["first", "second"]


def test_a_paused_async_callable_yields_when_all_its_branches_do(host: Host) -> None:
    go, ran = threading.Event(), []

    async def work(ctx: Context) -> str:
        async def one(name: str) -> None:
            ran.append(name)
            if not go.is_set():
                host.pause(token)
                while not ctx.pause_requested:  # noqa: ASYNC110  # nothing tells
                    await asyncio.sleep(0.001)

        async def branch(name: str) -> None:
            await ctx.step("first", one, name, key=name)
            await ctx.step("second", one, name, key=name)

        await asyncio.gather(branch("a"), branch("b"))
        return "done"

    token = host.lease(work)
    assert waits(host.result()) == []
    go.set()
    assert ran == ["a", "b"]
    assert output(host.run(work)) == "done"
    assert sorted(ran) == ["a", "a", "b", "b"]


def test_a_lease_that_comes_with_a_pause_runs_nothing(host: Host) -> None:
    host.pause_requested = True
    assert waits(host.run(lambda: "done")) == []


def test_a_yield_that_comes_after_the_resumption_gives_the_lease_back(host: Host) -> None:
    host.pause_requested = True
    host.refuse_result = lambda result: (
        refusal(3, "INVALID_ARGUMENT") if isinstance(result, api.Suspension) else None
    )
    assert isinstance(host.run(lambda: "done"), api.LeaseRef)


@pytest.mark.parametrize(("code", "reason"), [(9, "TRANSITION_NOT_ALLOWED"), (3, "")])
def test_a_refused_suspension_with_waits_fails_the_attempt(
    host: Host, code: int, reason: str
) -> None:
    async def work(ctx: Context) -> None:
        await ctx.sleep(60)

    host.refuse_result = lambda result: (
        refusal(code, reason) if isinstance(result, api.Suspension) else None
    )
    assert host.run(work).error.code == "STEP_REFUSED"


async def sleeping(ctx: Context) -> str:
    await asyncio.gather(ctx.sleep(60), ctx.wait_for_input(key="go"))
    return "done"


def sleeping_without_await(ctx: Context) -> str:
    ctx.sleep(60)
    ctx.wait_for_input(key="go")
    return "done"


@pytest.mark.parametrize("work", [sleeping, sleeping_without_await])
def test_an_open_sleep_whose_time_has_passed_ends_in_the_worker(
    host: Host, work: Callable[[Context], Any]
) -> None:
    host.run(work)
    [sleep] = [step for step in host.steps.values() if step.name == "sleep"]
    sleep.wait_until = 1
    if "go" not in [step.name for step in host.steps.values()]:
        # The host refuses the beginning of a step that it knows.
        assert waits(host.run(work)) == ["go"]
    host.end_wait("go", "1")

    assert output(host.run(work)) == "done"
    assert host.completed == ["sleep", "go"]


def test_a_task_that_is_left_cannot_wait_after_the_end_of_its_callable(host: Host) -> None:
    ended, left = threading.Event(), []

    async def work(ctx: Context) -> str:
        async def later() -> None:
            while not ended.is_set():  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0.001)
            await ctx.wait_for_input()

        left.append(asyncio.create_task(later()))
        left[0].add_done_callback(lambda _: is_over.set())
        return "done"

    is_over = threading.Event()
    assert output(host.run(work)) == "done"
    ended.set()
    assert is_over.wait(10)
    assert left[0].cancelled()


def test_the_last_failure_of_a_step_is_told_before_the_suspension(host: Host) -> None:
    async def work(ctx: Context) -> None:
        async def fail() -> None:
            raise ValueError("no")

        try:
            await ctx.step("fail", fail)
        except ValueError:
            await ctx.sleep(60)

    # The host refuses a suspension while a step is open.
    assert waits(host.run(work)) == ["sleep"]
    kinds = [message.WhichOneof("message") for message in host.messages]
    assert kinds == ["steps", "suspend"]


def test_durations_and_instants_that_cannot_be_waited_for_are_refused(host: Host) -> None:
    async def negative(ctx: Context) -> None:
        await ctx.sleep(-1)

    async def naive(ctx: Context) -> None:
        await ctx.sleep_until(dt.datetime(2030, 1, 1))  # noqa: DTZ001  # that is the test

    assert host.run(negative).error.code == "ValueError"
    assert host.run(naive).error.code == "ValueError"
