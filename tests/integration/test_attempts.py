"""Attempts as a user meets them: on records, by the client, and on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from backlane import Client, Failure, Retry, Worker
from backlane.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import ServerProcess
    from tests.integration.cli_process import Ask

import pytest

TWICE = Retry(max_attempts=3, initial_delay=0.001)


@pytest.fixture
def client(server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client of the same tenant as `ask`."""
    with Client(server.target, tenant=tenant) as made:
        yield made


@pytest.fixture
def flaky(server: ServerProcess, tenant: str, client: Client) -> str:
    """The id of an execution whose first attempt failed and whose second one completed."""
    worker = Worker(worker_id="w1", target=server.target, tenants=tenant)
    tries = 0

    @worker.callable
    def fetch() -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Failure("the page is away", category="network_error", code="AWAY")
        return "the page"

    with worker.running():
        handle = client.enqueue("fetch", retry=TWICE)
        assert handle.result(timeout=20) == "the page"
    return handle.execution_id


def test_every_attempt_is_kept_with_its_worker_its_times_and_its_error(
    client: Client, flaky: str
) -> None:
    first, second = client.attempts(flaky)

    assert (first.ordinal, first.outcome, first.worker_id) == (1, "failed", "w1")
    assert first.error is not None
    assert (first.error.message, first.error.code) == ("the page is away", "AWAY")
    assert (second.ordinal, second.outcome, second.error) == (2, "completed", None)
    assert first.ended_at is not None
    assert first.started_at <= first.ended_at <= second.started_at


def test_a_completed_execution_still_shows_the_newest_error(client: Client, flaky: str) -> None:
    record = client.get(flaky)

    assert (record.status, record.error, record.spent_attempts) == ("completed", None, 1)
    assert record.last_error is not None
    assert record.last_error.message == "the page is away"


def test_the_command_prints_one_line_for_each_attempt(ask: Ask, flaky: str) -> None:
    shown = ask("attempts", flaky)

    assert shown.status == Exit.OK
    header, first, second = shown.out.splitlines()
    assert header.lower().split() == ["attempt", "outcome", "worker", "started", "took", "error"]
    assert first.split()[:3] == ["1", "failed", "w1"]
    assert "the page is away" in first
    assert second.split()[:3] == ["2", "completed", "w1"]


def test_the_command_prints_json_for_each_attempt(ask: Ask, flaky: str) -> None:
    first, second = map(json.loads, ask("attempts", flaky, "--json").out.splitlines())

    assert (first["ordinal"], first["outcome"], first["error"]["code"]) == (1, "failed", "AWAY")
    assert (second["ordinal"], second["outcome"]) == (2, "completed")


def test_an_execution_that_no_worker_has_leased_has_no_attempts(ask: Ask, client: Client) -> None:
    handle = client.enqueue("fetch")

    shown = ask("attempts", handle.execution_id)

    assert (shown.status, shown.out) == (Exit.OK, "")
    assert client.attempts(handle.execution_id) == []
    assert "no worker has leased this execution yet" in shown.err


def test_the_attempts_of_an_unknown_execution_are_refused(ask: Ask) -> None:
    assert ask("attempts", "exec_1srOrx2ZWZBpBUvZwXKQmoEYga2").status == Exit.NOT_FOUND
