"""Durable steps of a callable: what is stored, and what is found again."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from tests.unit.fake_host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane import Context
    from backlane.v1 import worker_service_pb2 as api


@dataclass
class Facts:
    """An output that is no plain JSON."""

    day: dt.date
    words: tuple[str, ...]


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


class Counter:
    """Functions that count how often they run."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def fetch(self, url: str) -> str:
        self.ran.append(url)
        return f"page {url}"

    def load(self, url: str) -> str:
        self.ran.append(url)
        return f"page {url}"


def output(result: api.CompleteResult) -> Any:  # noqa: ANN401  # JSON
    assert result.DESCRIPTOR.name == "CompleteResult", result
    return from_value(result.output)


def code(result: api.Failure) -> str:
    assert result.DESCRIPTOR.name == "Failure", result
    return result.error.code


def test_a_completed_step_is_not_run_again(host: Host) -> None:
    counter = Counter()

    async def work(ctx: Context) -> list[str]:
        first = await ctx.step("fetch", counter.fetch, "a")
        second = await ctx.step("fetch", counter.fetch, "b")
        if len(counter.ran) == 2:
            counter.ran.append("crash")
            raise ConnectionError
        return [first, second]

    assert code(host.run(work)) == "ConnectionError"
    assert output(host.run(work)) == ["page a", "page b"]
    assert counter.ran == ["a", "b", "crash"]
    assert host.completed == ["fetch", "fetch"]


def test_a_plain_callable_takes_the_same_steps(host: Host) -> None:
    counter = Counter()

    def work(ctx: Context) -> list[str]:
        got = [ctx.step("load", counter.load, "a"), ctx.step("load", counter.load, "b")]
        if len(counter.ran) == 2:
            counter.ran.append("crash")
            raise ConnectionError
        return got

    assert code(host.run(work)) == "ConnectionError"
    assert output(host.run(work)) == ["page a", "page b"]
    assert counter.ran == ["a", "b", "crash"]


def test_the_start_of_a_short_step_goes_with_its_end_and_a_step_is_one_message(host: Host) -> None:
    async def work(ctx: Context) -> str:
        await ctx.step("one", Counter().fetch, "a")
        return await ctx.step("two", Counter().fetch, "b")

    host.run(work)

    actions = [
        [action.WhichOneof("action") for action in message.steps.reports[0].actions]
        for message in host.messages
        if message.WhichOneof("message") == "steps"
    ]
    assert actions == [["started", "completed"]] * 2


def test_the_start_of_a_long_step_is_recorded_while_it_runs(host: Host) -> None:
    go, seen = threading.Event(), threading.Event()

    def record(_: api.StepReport) -> None:
        seen.set()

    def slow() -> str:
        assert seen.wait(10)
        go.set()
        return "done"

    host.refuse = record
    assert output(host.run(lambda ctx: ctx.step("slow", slow))) == "done"
    assert go.is_set()


@pytest.mark.parametrize("is_again", [False, True])
def test_an_output_comes_back_as_the_annotation_says(
    host: Host,
    is_again: bool,  # noqa: FBT001  # a parameter of the test's table
) -> None:
    facts = Facts(dt.date(2026, 1, 2), ("a", "b"))
    got: list[Facts] = []

    async def look() -> Facts:
        return facts

    async def work(ctx: Context) -> None:
        got.append(await ctx.step("look", look))
        if is_again and len(got) == 1:
            raise ConnectionError

    host.run(work)
    if is_again:
        host.run(work)

    assert got == [facts] * (1 + is_again)
    [step] = host.steps.values()
    assert step.output == '{"day":"2026-01-02","words":["a","b"]}'
    assert not step.HasField("input")


def test_without_an_annotation_an_output_is_its_json_at_once(host: Host) -> None:
    got: list[object] = []

    async def pair() -> Any:  # noqa: ANN401  # no annotation to read it with
        return (1, 2)

    async def work(ctx: Context) -> None:
        got.append(await ctx.step("pair", pair))

    host.run(work)
    assert got == [[1, 2]]


def test_arguments_are_recorded_for_readers(host: Host) -> None:
    async def add(left: int, right: int = 0) -> int:
        return left + right

    async def work(ctx: Context) -> None:
        await ctx.step("one", add, 1)
        await ctx.step("two", add, 1, 2)
        await ctx.step("named", add, 1, right=2)

    host.run(work)
    assert [step.input for step in host.steps.values()] == ["1", "[1,2]", '{"args":[1],"right":2}']


def test_other_arguments_are_refused_and_never_get_the_other_output(host: Host) -> None:
    counter = Counter()
    urls = iter("ab")

    async def work(ctx: Context) -> str:
        await ctx.step("fetch", counter.fetch, next(urls))
        raise ConnectionError

    host.run(work)
    failed = host.run(work)

    assert code(failed) == "STEP_MISMATCH"
    assert failed.error.category == records.ERROR_CATEGORY_VALIDATION_ERROR
    assert counter.ran == ["a"]


def test_steps_of_one_name_at_once_need_keys(host: Host) -> None:
    counter = Counter()

    async def work(ctx: Context) -> list[str]:
        return await asyncio.gather(*(ctx.step("fetch", counter.fetch, url) for url in "ab"))

    assert code(host.run(work)) == "STEPS_AT_ONCE"


def test_steps_with_keys_run_at_once_and_are_found_in_any_order(host: Host) -> None:
    counter = Counter()
    orders = iter(["abc", "cba"])

    async def work(ctx: Context) -> list[str]:
        urls = next(orders)
        got = await asyncio.gather(
            *(ctx.step("fetch", counter.fetch, url, key=url) for url in urls)
        )
        if urls == "abc":
            raise ConnectionError
        return got

    host.run(work)
    assert output(host.run(work)) == ["page c", "page b", "page a"]
    assert sorted(counter.ran) == ["a", "b", "c"]
    reports = sum(m.WhichOneof("message") == "steps" for m in host.messages)
    assert reports <= 3


def test_a_failed_step_is_done_again_as_a_new_one_that_names_the_old(host: Host) -> None:
    runs: list[int] = []

    async def flaky() -> str:
        runs.append(len(runs))
        if len(runs) == 1:
            raise TimeoutError("too slow")
        return "ok"

    async def work(ctx: Context) -> str:
        return await ctx.step("flaky", flaky)

    assert code(host.run(work)) == "TimeoutError"
    [old] = host.steps.values()
    assert old.state == records.STEP_STATE_FAILED
    assert old.error.code == "TimeoutError"
    assert old.error.category == records.ERROR_CATEGORY_TIMEOUT

    assert output(host.run(work)) == "ok"
    _, new = host.steps.values()
    assert new.source.source_type == records.STEP_SOURCE_TYPE_RETRY
    assert new.source.triggered_by == old.id


def test_a_caught_failure_and_the_next_try_keep_their_places(host: Host) -> None:
    ran: list[str] = []

    async def attempt(name: str) -> str:
        ran.append(name)
        if name == "first":
            raise ValueError(name)
        return name

    async def work(ctx: Context) -> str:
        for name in ("first", "second"):
            try:
                found = await ctx.step("try", attempt, name)
            except ValueError:
                continue
            if len(ran) == 2:
                raise ConnectionError
            return found
        return "none"

    host.run(work)
    assert output(host.run(work)) == "second"
    assert ran == ["first", "second", "first"]


def test_decorated_functions_are_steps(host: Host) -> None:
    ran: list[str] = []

    async def work(ctx: Context) -> list[str]:
        @ctx.step
        async def fetch(url: str) -> str:
            ran.append(url)
            return f"page {url}"

        @ctx.step(name="ask", key=lambda question: question, kind="llm")
        async def ask_model(question: str) -> str:
            ran.append(question)
            return question.upper()

        return [await fetch("a"), *await asyncio.gather(ask_model("x"), ask_model("y"))]

    expected = ["page a", "X", "Y"]
    assert output(host.run(work)) == expected
    assert output(host.run(work)) == expected
    assert ran == ["a", "x", "y"]
    assert [(s.name, s.key, s.step_type) for s in host.steps.values()] == [
        ("fetch", "", records.STEP_TYPE_FUNCTION),
        ("ask", "x", records.STEP_TYPE_LLM),
        ("ask", "y", records.STEP_TYPE_LLM),
    ]


def test_a_step_inside_of_a_step_names_the_outer_one(host: Host) -> None:
    async def work(ctx: Context) -> str:
        async def outer() -> str:
            return await ctx.step("inner", Counter().fetch, "a")

        return await ctx.step("outer", outer)

    assert output(host.run(work)) == "page a"
    by_name = {step.name: step for step in host.steps.values()}
    assert by_name["inner"].parent_step_id == by_name["outer"].id


async def fetch_noted(what: str, ran: list[str]) -> str:
    ran.append(what)
    return what


def test_a_step_inside_of_a_failed_one_is_found_again_inside_of_it_only(host: Host) -> None:
    ran: list[str] = []
    failed: list[str] = []

    async def work(ctx: Context) -> list[str]:
        async def outer() -> str:
            inner = await ctx.step("fetch", lambda: fetch_noted("inner", ran))
            if ran == ["inner"] and not failed:
                failed.append("once")
                raise ConnectionError
            return str(inner)

        around = await ctx.step("outer", outer)
        return [around, await ctx.step("fetch", lambda: fetch_noted("outside", ran))]

    assert code(host.run(work)) == "ConnectionError"
    assert output(host.run(work)) == ["inner", "outside"]
    assert ran == ["inner", "outside"]


def test_a_step_inside_of_a_completed_one_gives_no_other_step_its_output(host: Host) -> None:
    ran: list[str] = []

    async def work(ctx: Context) -> list[str]:
        async def outer() -> str:
            return str(await ctx.step("fetch", lambda: fetch_noted("inner", ran)))

        around = await ctx.step("outer", outer)
        outside = await ctx.step("fetch", lambda: fetch_noted("outside", ran))
        if "failed" not in ran:
            ran.append("failed")
            raise ConnectionError
        return [around, outside]

    assert code(host.run(work)) == "ConnectionError"
    assert output(host.run(work)) == ["inner", "outside"]
    assert ran == ["inner", "outside", "failed"]


def test_threads_of_a_plain_callable_may_take_steps(host: Host) -> None:
    counter = Counter()

    def work(ctx: Context) -> int:
        threads = [
            threading.Thread(target=ctx.step, args=("load", counter.load, url), kwargs={"key": url})
            for url in "abcd"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return len(counter.ran)

    assert output(host.run(work)) == 4
    assert len(host.completed) == 4


def test_the_context_shows_what_earlier_attempts_recorded(host: Host) -> None:
    async def work(ctx: Context) -> list[str]:
        await ctx.step("fetch", Counter().fetch, "a")
        return [f"{step.name} {step.state} {step.output}" for step in ctx.steps]

    assert output(host.run(work)) == []
    assert output(host.run(work)) == ['fetch Completed "page a"']


@pytest.mark.parametrize("name", ["", "x" * 129])
def test_a_name_has_its_length(host: Host, name: str) -> None:
    assert code(host.run(lambda ctx: ctx.step(name, Counter().load, "a"))) == "ValueError"


def test_a_drain_stops_a_plain_callable_at_its_next_step(host: Host) -> None:
    is_there = threading.Event()

    def work(ctx: Context) -> None:
        is_there.set()
        ctx.cancelled.wait(10)
        ctx.step("load", Counter().load, "a")

    host.lease(work)
    assert is_there.wait(10)
    host.crew.stop_all("drain")
    assert host.result().DESCRIPTOR.name == "LeaseRef"
    assert host.steps == {}
