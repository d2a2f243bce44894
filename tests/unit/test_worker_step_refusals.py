"""Steps of a callable that are lost, refused or of another version."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from backlane import Context, errors
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
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
