"""Children of an execution over a real server: spawned once, and awaited without a worker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from backlane import AsyncClient, Client, Context, Worker, errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from backlane.testing import ServerProcess
    from tests.conftest import StartServer

PATIENCE_S = 30


@pytest.fixture
def client(server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client of the worker's tenant."""
    with Client(server.target, tenant=tenant) as made:
        yield made


@pytest.fixture
def worker(server: ServerProcess, tenant: str) -> Worker:
    """A worker with a single slot: a parent that held it would never see its child run."""
    worker = Worker(target=server.target, tenants=tenant, concurrency=1)

    @worker.callable
    async def double(number: int) -> int:
        if number < 0:
            raise ValueError("negative")
        return 2 * number

    return worker


def until(is_so: Callable[[], Any]) -> Any:  # noqa: ANN401  # of any kind
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
    return found


async def total(ctx: Context, numbers: list[int]) -> int:
    children = [
        await ctx.spawn("double", number, key=str(at), name="double")
        for at, number in enumerate(numbers)
    ]
    return sum(await asyncio.gather(*children))


def test_a_parent_awaits_its_children_without_a_slot(client: Client, worker: Worker) -> None:
    worker.callable(total)
    with worker.running():
        handle = client.enqueue("total", [1, 2, 3])
        assert handle.result(timeout=PATIENCE_S) == 12

    children = list(handle.children(full=True))
    assert [child.output for child in children] == [6, 4, 2]
    assert {child.parent for child in children} == {handle.execution_id}
    assert [child.execution_id for child in client.list(parent=handle)] == [
        child.execution_id for child in children
    ]
    run = handle.execution_run()
    spawned = [step for step in run.steps if step.name == "double"]
    shown = [step.child_execution_id for step in spawned]
    assert shown == [child.execution_id for child in reversed(children)]
    assert {step.state for step in run.steps} == {"Completed"}


async def test_children_of_a_plain_callable_are_listed_by_an_async_client(
    worker: Worker, server: ServerProcess, tenant: str
) -> None:
    @worker.callable
    def plain(ctx: Context, number: int) -> int:
        child: Any = ctx.spawn("double", number)
        return int(child.result())

    async with AsyncClient(server.target, tenant=tenant) as client:
        with worker.running():
            handle = await client.enqueue("plain", 4)
            assert await handle.result(timeout=PATIENCE_S) == 8
        assert [child.status async for child in handle.children()] == ["completed"]


def test_a_failed_child_is_an_error_in_the_parent(client: Client, worker: Worker) -> None:
    @worker.callable
    async def careful(ctx: Context) -> str:
        child = await ctx.spawn("double", -1)
        try:
            await child
        except errors.ExecutionFailedError as failed:
            return str(failed)
        raise AssertionError

    with worker.running():
        assert "negative" in client.run(careful, wait_timeout=PATIENCE_S)


def test_the_end_of_a_waiting_parent_cancels_its_child(client: Client, worker: Worker) -> None:
    @worker.callable
    async def waits(ctx: Context) -> None:
        await (await ctx.spawn("nobody.offers.this"))

    with worker.running():
        handle = client.enqueue(waits)
        until(lambda: handle.execution_run().state == "Waiting")
        assert handle.execution_run().wait_reason == "SubAgent"
        handle.cancel()
        [child] = handle.children()
        assert client.wait([child.execution_id], timeout=PATIENCE_S).satisfied
        ended = client.get(child.execution_id)
        assert (ended.status, ended.reason) == ("cancelled", "cascade")


def test_a_timeout_of_the_wait_leaves_the_child_alone(client: Client, worker: Worker) -> None:
    @worker.callable
    async def impatient(ctx: Context) -> str:
        child = await ctx.spawn("nobody.offers.this")
        try:
            await child.result(timeout=0.05)
        except errors.NotFinishedError:
            return child.execution_id
        raise AssertionError

    with worker.running():
        child = client.run(impatient, wait_timeout=PATIENCE_S)
    assert client.get(child).status == "queued"


PROGRAM = """
    import os, signal, sys
    from pathlib import Path
    from backlane import Context, Worker

    folder = Path(sys.argv[3])
    worker = Worker(target=sys.argv[1], tenants=sys.argv[2], lease=1)

    def dies_once(where: str) -> None:
        if not (folder / where).exists():
            (folder / where).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    @worker.callable
    async def parent(ctx: Context) -> str:
        child = await ctx.spawn("child", "one")
        dies_once("after-the-spawn")
        return await child

    @worker.callable
    async def child(ctx: Context, text: str) -> str:
        return str(await ctx.wait_for_input(key=text))

    worker.run()
"""


def test_killed_workers_and_servers_make_no_second_child(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(program), server.target, "t", str(tmp_path)]

    with Client(server.target, tenant="t", call_timeout=PATIENCE_S) as client:
        handle = client.enqueue("parent")
        subprocess.run(command, check=False, timeout=PATIENCE_S)
        [child] = handle.children()
        with subprocess.Popen(command) as process:
            try:
                until(lambda: handle.execution_run().state == "Waiting")
                until(lambda: client.execution_run(child).state == "Waiting")
                server.kill()
                server.restart()
                client.provide_input(child, "one", "done")
                assert handle.result(timeout=PATIENCE_S) == "done"
            finally:
                process.kill()
        assert [one.execution_id for one in handle.children()] == [child.execution_id]
