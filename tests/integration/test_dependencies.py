"""Executions that wait for others: by both clients and on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from backlane import Client, Failure, Worker
from backlane.errors import ExecutionCancelledError, ExecutionNotFoundError, InvalidInputError
from tests.integration.client_kinds import KINDS, open_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import ServerProcess
    from tests.integration.cli_process import Ask

UNKNOWN = "exec_1srOrx2ZWZBpBUvZwXKQmoEYga2"
PATIENCE_S = 20


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client of each kind, of the same tenant as `ask`."""
    with open_client(request.param, server.target, tenant) as made:
        yield made


@pytest.fixture
def done() -> list[str]:
    """The names of what ran, in order."""
    return []


@pytest.fixture
def worker(server: ServerProcess, tenant: str, done: list[str]) -> Worker:
    """A worker that notes what it ran, and fails on bad names."""
    made = Worker(target=server.target, tenants=tenant, concurrency=4)

    @made.callable
    def note(name: str) -> str:
        if name.startswith("bad"):
            raise Failure(name, category="validation_error")
        done.append(name)
        return name

    return made


def test_an_execution_runs_once_all_that_it_names_have_completed(
    client: Client, worker: Worker, done: list[str]
) -> None:
    first = client.enqueue("note", "first")
    second = client.enqueue("note", "second", after=[first])
    # The highest priority does not help.
    last = client.enqueue("note", "last", after=[first.execution_id, second], priority=255)

    record = last.get()
    assert record.depends_on == [first.execution_id, second.execution_id]
    assert (record.status, client.task_record(last).state) == ("queued", "pending")
    with worker.running():
        assert last.result(timeout=PATIENCE_S) == "last"
    assert done == ["first", "second", "last"]


def test_what_depends_on_a_failure_is_skipped_and_so_on(
    client: Client, worker: Worker, done: list[str]
) -> None:
    bad = client.enqueue("note", "bad")
    next_one = client.enqueue("note", "next", after=[bad])
    last = client.enqueue("note", "last", after=[next_one])

    with worker.running(), pytest.raises(ExecutionCancelledError):
        last.result(timeout=PATIENCE_S)

    record = last.get()
    assert (record.status, record.reason) == ("cancelled", "dependency_failed")
    assert client.task_record(next_one).state == "skipped"
    assert done == []
    # What depends on something that has ended badly is skipped at once.
    late = client.enqueue("note", "late", after=[bad])
    assert late.get().status == "cancelled"


def test_a_dependency_that_is_not_there_is_refused(client: Client) -> None:
    with pytest.raises(ExecutionNotFoundError, match=UNKNOWN):
        client.enqueue("note", "x", after=[UNKNOWN])
    with pytest.raises(InvalidInputError, match=r"after cannot be .*a list of handles or ids"):
        client.enqueue("note", "x", after=UNKNOWN)


def test_the_command_draws_what_an_execution_depends_on(ask: Ask, client: Client) -> None:
    first = client.enqueue("fetch", "a")
    left = client.enqueue("cut", "b", after=[first])
    right = client.enqueue("paint", "c", after=[first])
    last = client.enqueue("join", "d", after=[left, right])
    a, b, c, d = (handle.execution_id for handle in (first, left, right, last))

    assert ask("graph", d).out.splitlines() == [
        f"join queued {d}",
        f"├── cut queued {b}",
        f"│   └── fetch queued {a}",
        f"└── paint queued {c}",
        f"    └── fetch queued {a}",
    ]
    drawn = ask("graph", d, "--format", "dot").out
    assert f'  "{a}" -> "{c}";' in drawn.splitlines()
    assert f'  "{d}" [label="join queued"];' in drawn.splitlines()
    records = [json.loads(line) for line in ask("graph", d, "--json").out.splitlines()]
    assert [record["executionId"] for record in records] == [d, b, c, a]
    drawn = ask("graph", d, "--format", "mermaid").out
    assert drawn.splitlines()[0] == "flowchart TD"
    assert f"  {b} --> {d}" in drawn.splitlines()


def test_the_command_names_what_must_complete_first(ask: Ask, client: Client) -> None:
    first = ask("enqueue", "note", "a").out.strip()

    second = ask("enqueue", "note", "b", "--after", first).out.strip()

    assert client.get(second).depends_on == [first]
