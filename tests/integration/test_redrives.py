"""Redrives over a real server: what of the old run the new execution takes over, and crashes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from backlane import Client, Context, Failure, RawInput, Worker
from backlane.cli.exits import Exit
from backlane.cli.main import run
from tests.integration.client_kinds import KINDS, open_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backlane.testing import ServerProcess
    from tests.conftest import StartServer
    from tests.integration.cli_process import Ask

PATIENCE_S = 30


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client of each kind, of the same tenant as `ask`."""
    with open_client(request.param, server.target, tenant) as made:
        yield made


class Order:
    """A callable with steps that fails until it is mended, and what it did."""

    def __init__(self, target: str, tenant: str, *, version: str | None = None) -> None:
        self.ran: list[str] = []
        self.is_mended = False
        self.worker = Worker(target=target, tenants=tenant)

        @self.worker.callable(version=version)
        async def order(ctx: Context, item: str) -> list[str]:
            first = await ctx.step("reserve", self._take, f"reserve {item}")
            with contextlib.suppress(ConnectionError):
                await ctx.step("notify", self._refuse)
            second = await ctx.step("notify", self._take, "notify by letter")
            if not self.is_mended:
                raise Failure("no", category="validation_error")
            third = await ctx.step("pay", self._take, f"pay {item}")
            return [first, second, third]

    async def _take(self, what: str) -> str:
        self.ran.append(what)
        return what

    async def _refuse(self) -> None:
        self.ran.append("notify by mail")
        raise ConnectionError("no mail")

    def failed(self, client: Client, item: str) -> str:
        """Enqueue an execution that fails after two steps, and return its id."""
        handle = client.enqueue("order", item)
        assert handle.wait(timeout=PATIENCE_S).status == "failed"
        return handle.execution_id


DONE = ["reserve cup", "notify by mail", "notify by letter"]


def test_a_redrive_takes_no_step_again_that_is_done(
    client: Client, server: ServerProcess, tenant: str
) -> None:
    order = Order(server.target, tenant)
    with order.worker.running():
        old = order.failed(client, "cup")
        assert order.ran == DONE
        order.is_mended = True

        handle = client.redrive(old)

        assert handle.result(timeout=PATIENCE_S) == ["reserve cup", "notify by letter", "pay cup"]
    # The step that failed is taken anew, and the one after it keeps its place.
    assert order.ran == [*DONE, "notify by mail", "pay cup"]
    steps = handle.execution_run().steps
    assert [(step.name, step.state, step.attempt) for step in steps] == [
        ("reserve", "Completed", 0),
        ("notify", "Failed", 0),
        ("notify", "Completed", 0),
        ("notify", "Failed", 1),
        ("pay", "Completed", 1),
    ]


def test_a_redrive_that_begins_anew_takes_all_steps_again(
    client: Client, server: ServerProcess, tenant: str
) -> None:
    order = Order(server.target, tenant)
    with order.worker.running():
        old = order.failed(client, "cup")
        order.is_mended = True

        client.redrive(old, restart=True).result(timeout=PATIENCE_S)
        assert order.ran == [*DONE, *DONE, "pay cup"]
        order.ran.clear()
        client.redrive(old, "pot").result(timeout=PATIENCE_S)
        assert order.ran[0] == "reserve pot"


def test_steps_of_another_version_are_taken_anew_with_restart(
    client: Client, server: ServerProcess, tenant: str
) -> None:
    first = Order(server.target, tenant, version="1")
    with first.worker.running():
        old = first.failed(client, "cup")
    second = Order(server.target, tenant, version="2")
    second.is_mended = True
    with second.worker.running():
        refused = client.redrive(old).wait(timeout=PATIENCE_S)
        assert refused.error is not None
        assert (refused.error.code, second.ran) == ("STEP_VERSION", [])
        assert "redrive the execution with restart" in refused.error.message

        client.redrive(old, restart=True).result(timeout=PATIENCE_S)


def test_a_server_that_is_killed_after_a_redrive_has_the_steps(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start_server(tmp_path / "data")
    order = Order(server.target, "t")
    with Client(server.target, tenant="t", call_timeout=PATIENCE_S) as client:
        with order.worker.running():
            old = order.failed(client, "cup")
        handle = client.redrive(old)
        server.kill()
        server.restart()
        taken = [step.name for step in handle.execution_run().steps]
        assert taken == ["reserve", "notify", "notify"]
        order = Order(server.target, "t")
        order.is_mended = True
        with order.worker.running():
            assert handle.result(timeout=PATIENCE_S)[0] == "reserve cup"
        assert order.ran == ["notify by mail", "pay cup"]
    server.stop()
    assert run(["check", str(tmp_path / "data")]) == Exit.OK
    assert capsys.readouterr().err == ""


def test_the_command_takes_all_steps_anew_on_demand(
    ask: Ask, client: Client, server: ServerProcess, tenant: str
) -> None:
    order = Order(server.target, tenant)
    with order.worker.running():
        old = order.failed(client, "cup")
        order.is_mended = True
        for arguments, expected in [((), 3), (("--restart",), 0)]:
            made = ask("redrive", old, *arguments)
            assert made.status == Exit.OK
            handle = client.handle(made.out.strip())
            handle.wait(timeout=PATIENCE_S)
            steps = handle.execution_run().steps
            assert sum(step.attempt == 0 for step in steps) == expected


def test_a_restart_that_is_no_truth_value_is_refused(client: Client) -> None:
    with pytest.raises(Exception, match="restart must be True or False"):
        client.redrive("exec_1srOrx2ZWZBpBUvZwXKQmoEYga2", RawInput("1"), restart="no")  # type: ignore[arg-type]  # what is tested
