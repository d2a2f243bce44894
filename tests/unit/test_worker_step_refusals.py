"""Steps of a callable that are lost, refused or of another version."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from backlane import Context, errors
from backlane.schema.dump import dump_text
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from backlane.worker import step_call
from backlane.worker.callable import BackgroundCallable
from backlane.worker.run import Run
from backlane.worker.track import digest_of
from tests.unit.fake_host import Host, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.v1 import worker_service_pb2 as api


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


def test_a_lost_lease_stops_the_attempt_and_its_running_step_is_done_again(host: Host) -> None:
    started, stopped, ran = threading.Event(), threading.Event(), []

    async def slow() -> str:
        ran.append(1)
        started.set()
        if len(ran) == 1:
            try:
                await asyncio.sleep(60)
            finally:
                stopped.set()
        return "ok"

    async def work(ctx: Context) -> str:
        return await ctx.step("slow", slow)

    token = host.lease(work)
    assert started.wait(10)
    host.lose(token)
    assert stopped.wait(10)

    assert output(host.run(work)) == "ok"
    assert len(ran) == 2


def test_a_plain_callable_that_waits_for_an_answer_stops_with_its_lease(host: Host) -> None:
    ended = threading.Event()
    host.refuse = lambda _: refusal(9, "LEASE_LOST")

    def work(ctx: Context) -> None:
        try:
            ctx.step("load", Counter().load, "a")
        finally:
            ended.set()

    host.lease(work)
    assert ended.wait(10)


def test_a_report_that_is_refused_for_a_moment_is_sent_again_under_a_new_number(host: Host) -> None:
    numbers: list[int] = []

    def busy(report: api.StepReport) -> Any:  # noqa: ANN401  # a status
        numbers.append(report.sequence)
        return refusal(14, "STORE_UNAVAILABLE") if len(numbers) == 1 else None

    host.refuse = busy
    assert output(host.run(lambda ctx: ctx.step("load", Counter().load, "a"))) == "page a"
    assert numbers == [1, 2]


def test_a_step_that_cannot_be_recorded_is_an_error_of_its_own(host: Host) -> None:
    host.refuse = lambda _: refusal(11, "TOO_LARGE")
    seen: list[errors.StepRefusedError] = []

    async def work(ctx: Context) -> None:
        try:
            await ctx.step("fetch", Counter().fetch, "a")
        except errors.StepRefusedError as error:
            seen.append(error)
            raise

    failed = host.run(work)
    assert code(failed) == "STEP_REFUSED"
    assert failed.error.category == records.ERROR_CATEGORY_QUOTA_EXCEEDED
    assert isinstance(seen[0].__cause__, errors.TooLargeError)


def test_a_refused_output_leaves_no_step_open(host: Host) -> None:
    is_started = threading.Event()

    def large(report: api.StepReport) -> Any:  # noqa: ANN401  # a status
        kinds = [action.WhichOneof("action") for action in report.actions]
        if kinds == ["started"]:
            is_started.set()
        return refusal(11, "TOO_LARGE") if "completed" in kinds else None

    host.refuse = large

    def work(ctx: Context) -> None:
        with pytest.raises(errors.StepRefusedError):
            ctx.step("slow", is_started.wait, 10)
        ctx.sleep(60)

    # The host refuses a suspension while a step is open.
    assert host.run(work).DESCRIPTOR.name == "Suspension"
    [step, _] = host.steps.values()
    assert step.error.code == "STEP_REFUSED"


def test_a_step_needs_a_function(host: Host) -> None:
    assert code(host.run(lambda ctx: ctx.step("nothing"))) == "TypeError"


def test_one_bad_step_does_not_have_those_refused_that_ran_with_it(host: Host) -> None:
    counter = Counter()

    def large(report: api.StepReport) -> Any:  # noqa: ANN401  # a status
        outputs = [action.completed.output for action in report.actions]
        return refusal(11, "TOO_LARGE") if '"page b"' in outputs else None

    host.refuse = large

    async def work(ctx: Context) -> list[str]:
        got = await asyncio.gather(
            *(ctx.step("fetch", counter.fetch, url, key=url) for url in "abc"),
            return_exceptions=True,
        )
        return [one if isinstance(one, str) else type(one).__name__ for one in got]

    assert output(host.run(work)) == ["page a", "StepRefusedError", "page c"]


@pytest.mark.parametrize(("ours", "theirs"), [("2", "1"), (None, "1"), ("1", None)])
def test_steps_of_another_version_are_refused_with_what_to_do(
    host: Host, ours: str | None, theirs: str | None
) -> None:
    async def work(ctx: Context) -> None:
        await ctx.step("fetch", Counter().fetch, "a")
        raise ConnectionError

    host.run(work, version=theirs)
    failed = host.run(work, version=ours)

    assert code(failed) == "STEP_VERSION"
    assert failed.error.category == records.ERROR_CATEGORY_VALIDATION_ERROR
    assert (
        "redrive the execution with restart, and its steps are taken anew" in failed.error.message
    )


def test_a_version_goes_with_the_reports(host: Host) -> None:
    async def work(ctx: Context) -> str:
        return await ctx.step("fetch", Counter().fetch, "a")

    assert output(host.run(work, version="7")) == "page a"
    assert host.version == "7"
    assert output(host.run(work, version="7")) == "page a"


def test_arguments_and_outputs_that_are_not_json_are_refused(host: Host) -> None:
    async def odd(ctx: Context) -> None:
        await ctx.step("odd", Counter().fetch, object())

    async def make() -> object:
        return object()

    async def bad(ctx: Context) -> None:
        await ctx.step("bad", make)

    async def wrong() -> int:
        return "text"  # type: ignore[return-value]  # that is the test

    async def misfit(ctx: Context) -> None:
        await ctx.step("misfit", wrong)

    assert code(host.run(odd)) == "STEP_INPUT"
    assert code(host.run(bad)) == "STEP_OUTPUT"
    assert code(host.run(misfit)) == "STEP_OUTPUT"


@pytest.mark.parametrize("is_plain", [False, True])
def test_an_output_beyond_the_limit_is_an_error_that_names_step_and_limit(
    host: Host,
    is_plain: bool,  # noqa: FBT001  # a parameter of the test's table
) -> None:
    seen: list[str] = []

    def large() -> str:
        return "é" * (1 << 19)

    async def large_async() -> str:
        return large()

    def plain(ctx: Context) -> str:
        try:
            ctx.step("large", large)
        except errors.StepOutputError as error:
            seen.append(str(error))
        return ctx.step("small", Counter().load, "a")

    async def work(ctx: Context) -> str:
        try:
            await ctx.step("large", large_async)
        except errors.StepOutputError as error:
            seen.append(str(error))
        return await ctx.step("small", Counter().fetch, "a")

    assert output(host.run(plain if is_plain else work)) == "page a"
    assert "step 'large': the output has 1048578 bytes, and the limit is 1048576" in seen[0]
    assert host.completed == ["small"]
    [failed] = [step for step in host.steps.values() if step.name == "large"]
    assert failed.error.code == "STEP_OUTPUT"


def test_a_plain_callable_is_told_that_it_cannot_await_what_a_step_returns(host: Host) -> None:
    counter = Counter()
    failed = host.run(lambda ctx: ctx.step("fetch", lambda: counter.fetch("a")))

    assert code(failed) == "STEP_OUTPUT"
    assert failed.error.message == (
        "step 'fetch': the function returned a coroutine, which a plain callable cannot await: "
        "make the callable an `async def`, and await the step"
    )
    assert counter.ran == []


def test_a_kind_of_step_that_does_not_exist_is_told_with_those_that_do(host: Host) -> None:
    failed = host.run(lambda ctx: ctx.step(name="x", kind="magic"))

    assert failed.error.message == (
        "ValueError: kind 'magic' is not one of function, llm, tool, graph, custom"
    )


def test_a_bound_method_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr(step_call, "_new_adapter", looked.append)

    class Fresh:
        def load(self) -> str:
            return ""

    for _ in range(3):
        step_call._adapter_of(Fresh().load)  # what is kept shows in no other way

    assert looked == [Fresh.load]


def test_a_lease_of_the_same_version_is_admitted_without_a_look_at_its_steps() -> None:
    class Unread:
        schema_version = "1"

        @property
        def steps(self) -> None:
            raise AssertionError

    called = BackgroundCallable(Counter().load, version="1")
    run = Run(cast("Any", Unread()), called, cast("Any", None), 0.0)

    run.check_version()


def test_the_hash_of_arguments_is_that_of_other_languages() -> None:
    # The workers in Go and Node have the same test.
    some = ["<é>", 7, True, None, {"b": 1, "a": [2]}]

    assert digest_of(dump_text([[], {}])).hex() == "5eed25f9aa1c68139fe47d7ea93769c1"
    assert digest_of(dump_text([some, {}])).hex() == "a066c4e445ad90b8674d676cc17efa17"
