"""Durable steps and waits over a real server, with workers and servers that are killed."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from backlane import AsyncClient, Client, Context, Retry, Worker, errors
from backlane.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from backlane.testing import ServerProcess
    from tests.conftest import StartServer
    from tests.integration.cli_process import Ask

PATIENCE_S = 30
TWICE = Retry(max_attempts=2, initial_delay=0.001)


@pytest.fixture
def client(server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client of the same tenant as `ask`."""
    with Client(server.target, tenant=tenant) as made:
        yield made


@pytest.fixture
def worker(server: ServerProcess, tenant: str) -> Worker:
    """A worker of the same tenant."""
    return Worker(target=server.target, tenants=tenant)


def until(is_so: Callable[[], Any]) -> Any:  # noqa: ANN401  # of any kind
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
    return found


def is_in(client: Client, execution_id: str, state: str) -> bool:
    return client.execution_run(execution_id).state == state


def test_a_retry_takes_the_completed_steps_over(client: Client, worker: Worker) -> None:
    ran: list[str] = []

    @worker.callable(retry=TWICE)
    async def work(ctx: Context) -> list[int]:
        async def square(number: int) -> int:
            ran.append(f"square {number}")
            return number * number

        got = await asyncio.gather(
            *(ctx.step("square", square, number, key=str(number)) for number in range(5))
        )
        if ctx.attempt == 1:
            raise ConnectionError("gone")
        return got

    with worker.running():
        handle = client.enqueue(work)
        assert handle.result(timeout=PATIENCE_S) == [0, 1, 4, 9, 16]

    assert sorted(ran) == [f"square {number}" for number in range(5)]
    run = handle.execution_run()
    assert run.state == "Completed"
    assert [step.state for step in run.steps] == ["Completed"] * 5
    assert sorted(step.key or "" for step in run.steps) == list("01234")
    assert all(step.duration is not None for step in run.steps)
    assert type(run).from_json(run.to_json()).proto == run.proto


def test_a_plain_callable_takes_steps_and_a_failed_one_is_done_again(
    client: Client, worker: Worker
) -> None:
    ran: list[str] = []

    def fetch(url: str) -> str:
        ran.append(url)
        if len(ran) == 2:
            raise TimeoutError("slow")
        return f"page {url}"

    @worker.callable(retry=TWICE, version="3")
    def work(ctx: Context) -> list[str]:
        return [ctx.step("fetch", fetch, url) for url in "ab"]

    with worker.running():
        handle = client.enqueue(work)
        assert handle.result(timeout=PATIENCE_S) == ["page a", "page b"]

    assert ran == ["a", "b", "b"]
    run = client.execution_run(handle)
    assert [step.state for step in run.steps] == ["Completed", "Failed", "Completed"]
    assert run.steps[1].error is not None
    assert run.steps[1].error.code == "TimeoutError"
    assert run.steps[2].proto.source.triggered_by == run.steps[1].step_id
    assert run.schema_version == "3"


def test_an_approval_waits_without_a_worker_and_goes_on_with_the_input(
    client: Client, worker: Worker
) -> None:
    @worker.callable
    async def pay(ctx: Context, cents: int) -> str:
        is_allowed = await ctx.wait_for_input("approval", key="boss", type=bool)
        return f"paid {cents}" if is_allowed else "refused"

    with worker.running():
        handle = client.enqueue(pay, 5)
        until(lambda: is_in(client, handle.execution_id, "Waiting"))
        run = handle.execution_run()
        assert run.wait_reason == "Approval"
        [step] = run.steps
        assert (step.name, step.step_type, step.state) == ("boss", "wait", "Running")
        assert step.input_key == "boss"
        assert handle.get().status == "running"
        handle.provide_input("boss", value=True, request_id="r1")
        assert handle.result(timeout=PATIENCE_S) == "paid 5"

    with pytest.raises(errors.TransitionNotAllowedError):
        handle.provide_input("boss", value=True)


async def test_an_input_that_comes_early_is_kept(
    worker: Worker, server: ServerProcess, tenant: str
) -> None:
    @worker.callable
    def ask(ctx: Context) -> Any:  # noqa: ANN401  # JSON
        return ctx.wait_for_input(key="early")

    async with AsyncClient(server.target, tenant=tenant) as other:
        handle = await other.enqueue("ask")
        await handle.provide_input("early", {"a": [1]})
        with pytest.raises(errors.AlreadyExistsError):
            await handle.provide_input("early", 2)
        with worker.running():
            assert await handle.result(timeout=PATIENCE_S) == {"a": [1]}
        assert (await handle.execution_run()).state == "Completed"


def test_a_wait_without_input_ends_with_its_time_or_with_a_resume(
    client: Client, worker: Worker
) -> None:
    @worker.callable
    async def ask(ctx: Context, seconds: float) -> str:
        try:
            return str(await ctx.wait_for_input(key="k", timeout=seconds))
        except errors.NoInputError as error:
            return error.why

    with worker.running():
        assert client.run(ask, 0.05) == "its time has passed"
        handle = client.enqueue(ask, 3600)
        until(lambda: is_in(client, handle.execution_id, "Waiting"))
        handle.resume()
        assert handle.result(timeout=PATIENCE_S) != ""


def test_sleeps_at_once_and_short_ones(client: Client, worker: Worker) -> None:
    @worker.callable
    async def nap(ctx: Context) -> int:
        await ctx.sleep(0.01)
        await asyncio.gather(ctx.sleep(1, key="a"), ctx.sleep(1.2, key="b"))
        await ctx.sleep_until(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1.1))
        return ctx.attempt

    with worker.running():
        handle = client.enqueue(nap)
        assert handle.result(timeout=PATIENCE_S) == 1

    assert [step.state for step in handle.execution_run().steps] == ["Completed"] * 4
    outcomes = [one.outcome for one in client.attempts(handle)]
    assert set(outcomes[:-1]) == {"suspended"}


def test_a_pause_yields_at_the_next_step_and_a_resume_goes_on(
    client: Client, worker: Worker
) -> None:
    is_there, go, ran = threading.Event(), threading.Event(), []

    @worker.callable
    def work(ctx: Context) -> str:
        def first() -> None:
            ran.append("first")
            is_there.set()
            assert go.wait(PATIENCE_S)
            # Until the worker knows of the pause.
            until(lambda: ctx.pause_requested)

        ctx.step("first", first)
        ctx.step("second", ran.append, "second")
        return "done"

    with worker.running():
        handle = client.enqueue(work)
        assert is_there.wait(PATIENCE_S)
        assert handle.pause().paused
        go.set()
        until(lambda: handle.execution_run().state == "Paused" and not _leased(client))
        assert ran == ["first"]
        assert not handle.resume().paused
        assert handle.result(timeout=PATIENCE_S) == "done"
    assert ran == ["first", "second"]
    assert [one.outcome for one in client.attempts(handle)] == ["suspended", "completed"]


def _leased(client: Client) -> int:
    return client.stats().running


def test_steps_of_another_version_are_refused(
    client: Client, server: ServerProcess, tenant: str
) -> None:
    async def work(ctx: Context) -> None:
        await ctx.wait_for_input(key="k")

    old, new = (Worker(target=server.target, tenants=tenant) for _ in range(2))
    old.callable(name="work", version="1")(work)
    new.callable(name="work", version="2")(work)
    with old.running():
        handle = client.enqueue("work")
        until(lambda: is_in(client, handle.execution_id, "Waiting"))
    handle.provide_input("k", 1)
    with new.running(), pytest.raises(errors.ExecutionFailedError) as raised:
        handle.result(timeout=PATIENCE_S)
    assert raised.value.execution.error is not None
    assert raised.value.execution.error.code == "STEP_VERSION"


@pytest.mark.parametrize("is_async", [True, False])
def test_more_steps_than_a_run_may_have_are_refused(
    client: Client,
    worker: Worker,
    is_async: bool,  # noqa: FBT001  # a parameter of the test's table
) -> None:
    async def many(ctx: Context) -> None:
        async def nothing() -> None:
            pass

        for _ in range(101):
            await ctx.step("nothing", nothing)

    def many_plain(ctx: Context) -> None:
        for _ in range(101):
            ctx.step("nothing", lambda: None)

    worker.callable(name="many")(many if is_async else many_plain)
    with worker.running(), pytest.raises(errors.ExecutionFailedError) as raised:
        client.run("many", wait_timeout=PATIENCE_S)

    error = raised.value.execution.error
    assert error is not None
    assert (error.code, error.category) == ("STEP_REFUSED", "quota_exceeded")
    assert len(client.execution_run(raised.value.execution.execution_id).steps) == 100


PROGRAM = """
    import os, signal, sys
    from pathlib import Path
    from backlane import Context, Worker

    notes = Path(sys.argv[3])
    worker = Worker(target=sys.argv[1], tenants=sys.argv[2], lease=1)

    def note(what: str) -> str:
        with notes.open("a") as file:
            file.write(what + chr(10))
        return what

    @worker.callable
    async def work(ctx: Context) -> list[str]:
        async def take(name: str) -> str:
            return note(name)

        first = await ctx.step("first", take, "first")
        if not (notes.parent / "killed").exists():
            (notes.parent / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        second = await ctx.step("second", take, "second")
        word = await ctx.wait_for_input(key="word", type=str)
        await ctx.sleep(1.5)
        third = await ctx.step("third", take, "third")
        return [first, second, word, third]

    worker.run()
"""


def test_a_killed_worker_and_a_killed_server_repeat_no_side_effect(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data")
    program, notes = tmp_path / "program.py", tmp_path / "notes"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(program), server.target, "t", str(notes)]

    with Client(server.target, tenant="t", call_timeout=PATIENCE_S) as client:
        handle = client.enqueue("work")
        subprocess.run(command, check=False, timeout=PATIENCE_S)
        assert notes.read_text().split() == ["first"]
        with subprocess.Popen(command) as process:
            try:
                until(lambda: is_in(client, handle.execution_id, "Waiting"))
                server.kill()
                server.restart()
                assert is_in(client, handle.execution_id, "Waiting")
                handle.provide_input("word", "yes")
                until(lambda: len(handle.execution_run().steps) == 4)
                server.kill()
                server.restart()
                assert handle.result(timeout=PATIENCE_S) == ["first", "second", "yes", "third"]
            finally:
                process.kill()
        assert notes.read_text().split() == ["first", "second", "third"]
        assert [step.state for step in handle.execution_run().steps] == ["Completed"] * 5


def test_no_step_runs_twice_while_the_server_is_killed_again_and_again(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data")
    ran: list[tuple[str, int]] = []
    worker = Worker(target=server.target, tenants="t")

    @worker.callable
    async def work(ctx: Context) -> int:
        async def take(number: int) -> int:
            ran.append((ctx.execution_id, number))
            return number

        total = 0
        for number in range(20):
            total += await ctx.step("take", take, number)
        pair = await asyncio.gather(*(ctx.step("take", take, n, key=str(n)) for n in (20, 21)))
        await ctx.sleep(1)
        return total + sum(pair)

    with worker.running(), Client(server.target, tenant="t", call_timeout=PATIENCE_S) as client:
        handles = client.enqueue_many("work", [None] * 30)
        for share in (100, 300, 500):
            until(lambda: len(ran) >= share)  # noqa: B023  # it is called at once
            server.kill()
            server.restart()
        assert [handle.result(timeout=PATIENCE_S) for handle in handles] == [231] * 30
        runs = [handle.execution_run() for handle in handles]

    assert len(ran) == len(set(ran)) == 30 * 22
    assert all([step.state for step in run.steps] == ["Completed"] * 23 for run in runs)


def test_the_commands_of_runs(ask: Ask, client: Client, worker: Worker) -> None:
    @worker.callable
    async def pay(ctx: Context) -> bool:
        async def look() -> str:
            return "a bill"

        await ctx.step("look", look)
        is_allowed: bool = await ctx.wait_for_input("approval", key="boss", type=bool)
        return is_allowed

    with worker.running():
        handle = client.enqueue(pay, delay=3600)
        name = handle.execution_id
        assert "no steps are recorded" in ask("steps", name).err
        paused = ask("pause", name)
        assert f"run `backlane resume {name}" in paused.err
        assert "paused" in paused.out
        assert json.loads(ask("resume", name, "--json").out)["paused"] is False
        refused = ask("resume", name)
        assert refused.status == Exit.REFUSED
        assert "already ended" not in refused.err

        handle = client.enqueue(pay)
        name = handle.execution_id
        until(lambda: is_in(client, name, "Waiting"))
        heading, look, wait = ask("steps", name).out.splitlines()
        assert heading.split() == ["STEP", "KEY", "TYPE", "STATE", "TOOK", "NOTE"]
        assert look.split()[:3] == ["look", "function", "completed"]
        assert look.endswith('"a bill"')
        assert wait.split() == ["boss", "wait", "running", "waits", "for", "input", "boss"]
        assert json.loads(ask("steps", name, "--json").out)["waitReason"] == "Approval"
        assert ask("input", name, "boss", "true").status == Exit.OK
        assert handle.result(timeout=PATIENCE_S) is True
        late = ask("input", name, "boss", "true")
        assert late.status == Exit.REFUSED
        assert "backlane get" in late.err
