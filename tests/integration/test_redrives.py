"""Redrives over a real server: what of the old run the new execution takes over, and crashes."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from backlane import Client, Context, Failure, Worker
from backlane.cli.exits import Exit
from backlane.cli.main import run
from backlane.errors import AlreadyExistsError, InvalidInputError
from tests.integration.client_kinds import KINDS, open_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from backlane.client import RedriveOutcome
    from backlane.testing import ServerProcess
    from tests.conftest import StartServer
    from tests.integration.cli_process import Ask

PATIENCE_S = 30
UNKNOWN = "exec_1srOrx2ZWZBpBUvZwXKQmoEYga2"


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


def test_a_server_that_is_killed_after_a_redrive_has_the_dependents(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data")
    with Client(server.target, tenant="t", call_timeout=PATIENCE_S) as client:
        first = client.enqueue("work")
        second = client.enqueue("work", after=[first])
        first.cancel()
        assert second.wait(timeout=PATIENCE_S).reason == "dependency_failed"
        handle = client.redrive(first, with_dependents=True, request_id="r1")
        server.kill()
        server.restart()
        again = client.redrive(first, with_dependents=True, request_id="r1")
        assert (again.execution_id, again.existing) == (handle.execution_id, True)
        assert list(again.dependent_ids) == list(handle.dependent_ids)
        [follower] = handle.dependent_ids
        assert client.get(follower).depends_on == [handle.execution_id]
        assert client.stats().pending == 1


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


def test_a_flag_that_is_no_truth_value_is_refused(client: Client) -> None:
    for flag in ("restart", "with_dependents"):
        wrong: Any = {flag: "no"}
        with pytest.raises(InvalidInputError, match=f"{flag} must be True or False"):
            client.redrive(UNKNOWN, **wrong)


@pytest.fixture
def worker(server: ServerProcess, tenant: str) -> Iterator[Worker]:
    """A worker whose callables fail until the event is set."""
    made = Worker(target=server.target, tenants=tenant)

    @made.callable
    def charge(number: int, /) -> int:
        if number < 0:
            raise Failure("below zero", category="validation_error")
        return number

    @made.callable
    def mail(number: int, /) -> int:
        raise Failure(f"no mail {number}", category="validation_error")

    with made.running():
        yield made


def dead(client: Client, name: str, many: int) -> list[str]:
    """Enqueue executions that fail, and return their ids, the newest first."""
    made = [client.enqueue(name, -1) for _ in range(many)]
    for handle in made:
        assert handle.wait(timeout=PATIENCE_S).status == "failed"
    return [handle.execution_id for handle in reversed(made)]


@pytest.mark.usefixtures("worker")
def test_dependents_that_were_skipped_come_back_in_order(client: Client) -> None:
    first = client.enqueue("charge", -1)
    second = client.enqueue("charge", 2, after=[first])
    third = client.enqueue("charge", 3, after=[second])
    assert third.wait(timeout=PATIENCE_S).reason == "dependency_failed"

    handle = client.redrive(first, with_dependents=True)

    assert handle.wait(timeout=PATIENCE_S).status == "failed"
    news = [client.get(one) for one in handle.dependent_ids]
    assert [one.retried_from for one in news] == [second.execution_id, third.execution_id]
    assert list(news[0].depends_on) == [handle.execution_id]
    assert list(news[1].depends_on) == [news[0].execution_id]

    mended = client.redrive(first, 1, with_dependents=True)

    assert mended.result(timeout=PATIENCE_S) == 1
    results = [client.handle(one).result(timeout=PATIENCE_S) for one in mended.dependent_ids]
    assert results == [2, 3]


@pytest.mark.usefixtures("worker")
def test_many_are_redriven_newest_first_and_a_run_can_be_repeated(client: Client) -> None:
    charges, mails = dead(client, "charge", 5), dead(client, "mail", 2)

    only = list(client.redrive_many(callable_name="charge", limit=3, name="run-1"))
    assert [one.execution.execution_id for one in only] == charges[:3]
    for one in only:
        assert one.redriven_as is not None
        assert client.get(one.redriven_as).retried_from == one.execution.execution_id
        client.handle(one.redriven_as).wait(timeout=PATIENCE_S)
    dead_now = {one.execution_id for one in client.dead_letters()}
    assert dead_now == {*charges, *mails, *(one.redriven_as for one in only)}

    again = list(
        client.redrive_many(callable_name="charge", until=_since(client, only), name="run-1")
    )
    made = {one.execution.execution_id: one for one in again}
    assert [made[one.execution.execution_id].redriven_as for one in only] == [
        one.redriven_as for one in only
    ]
    assert [one.existing for one in again] == [True] * 3 + [False] * 2


def _since(client: Client, outcomes: list[RedriveOutcome]) -> datetime:
    """When the first of the new executions was enqueued: the old ones had all ended."""
    first = client.get(outcomes[0].redriven_as or "")
    assert first.queued_at is not None
    return first.queued_at


@pytest.mark.usefixtures("worker")
def test_what_is_refused_is_an_outcome_and_the_others_are_made(client: Client) -> None:
    old = client.enqueue("charge", -1, dedup_key="k")
    old.wait(timeout=PATIENCE_S)
    [other] = dead(client, "charge", 1)
    client.enqueue("charge", 1, dedup_key="k", delay=3600)

    refused, made = reversed(list(client.redrive_many()))

    assert refused.execution.execution_id == old.execution_id
    assert isinstance(refused.error, AlreadyExistsError)
    assert (refused.redriven_as, made.error) == (None, None)
    assert made.execution.execution_id == other


@pytest.mark.usefixtures("worker")
def test_a_dry_run_redrives_nothing(client: Client) -> None:
    ids = dead(client, "charge", 2)

    shown = list(client.redrive_many(dry_run=True, status="failed"))

    assert [one.execution.execution_id for one in shown] == ids
    assert {one.redriven_as for one in shown} == {None}
    assert [one.execution_id for one in client.list()] == ids
    assert list(client.redrive_many(dry_run=True, status="timeout")) == []


@pytest.mark.usefixtures("worker")
def test_the_command_redrives_many_and_tells_what_became_of_each(ask: Ask, client: Client) -> None:
    first, second = dead(client, "charge", 2)

    shown = ask("redrive", "--callable", "charge", "--dry-run")
    assert (shown.status, shown.err) == (Exit.OK, "backlane: 2 would be redriven\n")
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == [first, second]

    made = ask("redrive", "--all", "--rate", "1000/s", "--limit", "1", "--name", "n")
    assert made.status == Exit.OK
    [[old, new]] = [line.split() for line in made.out.splitlines()]
    assert (old, client.get(new).retried_from) == (first, first)
    hint, summary, limit = made.err.splitlines()
    assert hint.startswith("backlane: this run can be repeated with --name n --until ")
    assert summary == "backlane: 1 enqueued, 0 existed already, 0 refused"
    assert "the limit of 1 is reached" in limit
    client.handle(new).wait(timeout=PATIENCE_S)

    until = hint.split()[-1]
    again = ask("redrive", "--until", until, "--status", "failed", "--name", "n", "--json")
    told = [json.loads(line) for line in again.out.splitlines()]
    assert [(one["executionId"], one["existing"]) for one in told] == [
        (first, True),
        (second, False),
    ]
    assert told[0]["redrivenAs"] == new
    assert again.err.endswith("backlane: 1 enqueued, 1 existed already, 0 refused\n")


@pytest.mark.usefixtures("worker")
def test_the_command_tells_what_was_refused_by_its_exit_status(ask: Ask, client: Client) -> None:
    client.enqueue("charge", -1, dedup_key="k").wait(timeout=PATIENCE_S)
    client.enqueue("charge", 1, dedup_key="k", delay=3600)

    refused = ask("redrive", "--since", "1h")

    assert (refused.status, refused.out) == (Exit.REFUSED, "")
    assert "is unfinished and has the dedup key k" in refused.err
    assert refused.err.endswith("backlane: 0 enqueued, 0 existed already, 1 refused\n")
    assert ask("redrive", "--until", "1h").out == ""


@pytest.mark.usefixtures("worker")
def test_the_command_brings_back_dependents(ask: Ask, client: Client) -> None:
    first = client.enqueue("charge", -1)
    second = client.enqueue("charge", 2, after=[first])
    second.wait(timeout=PATIENCE_S)

    one = ask("redrive", first.execution_id, "--with-dependents")
    assert one.err == "backlane: 1 dependents were enqueued as well\n"
    client.handle(one.out.strip()).wait(timeout=PATIENCE_S)
    many = ask("redrive", "--callable", "charge", "--with-dependents", "--json")
    told = [json.loads(line) for line in many.out.splitlines()]
    assert sorted(len(each.get("dependentIds", [])) for each in told) == [1, 1]
