"""Limits on running executions, by client and by command."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from backlane import Client, Worker, errors
from backlane.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import ServerProcess
    from tests.integration.cli_process import Ask

PATIENCE_S = 30


@pytest.fixture
def client(server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client of the same tenant as `ask`."""
    with Client(server.target, tenant=tenant) as made:
        yield made


def test_a_limit_holds_back_one_callable_and_no_other(
    client: Client, server: ServerProcess, tenant: str
) -> None:
    worker = Worker(target=server.target, tenants=tenant)
    most, running, lock = 0, 0, threading.Lock()

    @worker.callable
    def slow(number: int) -> int:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        both = client.limits()
        assert both[0].running <= 2
        with lock:
            running -= 1
        return number

    set_now = client.set_limits("slow", max_running=2)
    assert (set_now.callable_name, set_now.max_running, set_now.running) == ("slow", 2, 0)
    handles = client.enqueue_many("slow", range(30))
    [limit] = client.limits()
    assert (limit.tenant_id, limit.max_running, limit.ready) == (tenant, 2, 30)
    with worker.running():
        client.wait(handles, timeout=PATIENCE_S)
    assert 1 <= most <= 2


def test_a_limit_of_nothing_lets_none_begin_until_it_is_lifted(
    client: Client, server: ServerProcess, tenant: str
) -> None:
    client.set_limits(max_running=0)
    handle = client.enqueue("work")
    assert list(client.peek()) == []
    worker = Worker(target=server.target, tenants=tenant)
    worker.callable(name="work")(lambda: "done")
    with worker.running():
        assert client.set_limits(max_running=None).max_running is None
        assert handle.result(timeout=PATIENCE_S) == "done"
    assert client.limits() == []


def test_the_commands_set_list_and_lift_limits(ask: Ask) -> None:
    assert ask("limit", "mail.send", "--max", "3").out == (
        "callable mail.send: at most 3, 0 run and 0 are ready\n"
    )
    assert ask("limit", "--max", "0").out == "the tenant: at most 0, 0 run and 0 are ready\n"
    listed = [json.loads(line) for line in ask("limits", "--json").out.splitlines()]
    assert [one["callableName"] for one in listed] == ["", "mail.send"]
    assert [one["maxRunning"] for one in listed] == [0, 3]
    table = ask("limits").out.splitlines()
    assert table[0].split() == ["CALLABLE", "AT", "MOST", "RUNNING", "READY"]
    assert table[1].split() == ["(all)", "0", "0", "0"]
    assert ask("limit", "mail.send", "--lift").out == (
        "callable mail.send: no limit, 0 run and 0 are ready\n"
    )
    for wrong in (["limit"], ["limit", "--max", "1", "--lift"], ["limit", "--max", "-1"]):
        assert ask(*wrong).status == Exit.USAGE


def test_a_tenant_has_a_bounded_number_of_limits(client: Client) -> None:
    for number in range(1000):
        client.set_limits(f"c{number}", max_running=1)
    with pytest.raises(errors.InvalidArgumentError, match="at most 1000 limits"):
        client.set_limits("one.more", max_running=1)
    client.set_limits("c7", max_running=2)
    client.set_limits("c8", max_running=None)
    client.set_limits("one.more", max_running=1)
    assert len(client.limits()) == 1000
    with pytest.raises(ValueError, match="max_running"):
        client.set_limits("c1", max_running=-1)
