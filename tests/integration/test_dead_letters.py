"""Dead letters, redrives and task records as a user meets them: by both clients and on commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from backlane import Client, Failure, Retry, Worker
from backlane.cli.exits import Exit
from backlane.errors import (
    AlreadyExistsError,
    ExecutionNotFoundError,
    InvalidInputError,
    TransitionNotAllowedError,
)
from backlane.schema.task import TaskRecord
from tests.integration.client_kinds import KINDS, open_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane import Handle
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
def plain(server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client for the tests of commands."""
    with Client(server.target, tenant=tenant) as made:
        yield made


@pytest.fixture
def worker(server: ServerProcess, tenant: str) -> Iterator[Worker]:
    """A worker whose callables fail on odd numbers."""
    made = Worker(worker_id="w1", target=server.target, tenants=tenant)

    @made.callable
    def halve(number: int) -> int:
        if number % 2:
            raise Failure(f"{number} is odd", category="validation_error", code="ODD")
        return number // 2

    @made.callable
    def never() -> None:
        raise Failure("never", category="validation_error")

    with made.running():
        yield made


def failed(client: Client, number: int, **options: Any) -> str:  # noqa: ANN401  # of an enqueue
    """Enqueue an execution that fails, and return its id."""
    handle: Handle[int] = client.enqueue("halve", number, **options)
    assert handle.wait(timeout=PATIENCE_S).status == "failed"
    return handle.execution_id


@pytest.mark.usefixtures("worker")
def test_what_failed_is_listed_newest_first_and_by_callable(client: Client) -> None:
    ids = [failed(client, number) for number in (1, 3, 5)]
    other = client.enqueue("never").wait(timeout=PATIENCE_S).execution_id
    client.enqueue("halve", 2).wait(timeout=PATIENCE_S)

    assert _ids(client.dead_letters()) == [other, *reversed(ids)]
    assert _ids(client.dead_letters(callable_name="halve", limit=2)) == [ids[2], ids[1]]
    [newest] = client.dead_letters(callable_name="halve", limit=1, full=True)
    assert newest.input == "5"
    assert newest.error is not None
    assert (newest.error.message, newest.error.code) == ("5 is odd", "ODD")


@pytest.mark.usefixtures("worker")
def test_what_is_discarded_is_not_listed_and_can_still_be_read(client: Client) -> None:
    kept, gone = failed(client, 1), failed(client, 3)
    done = client.enqueue("halve", 2)
    done.wait(timeout=PATIENCE_S)

    refused = client.discard_dead_letters([gone, gone, done, UNKNOWN])

    assert _ids(client.dead_letters()) == [kept]
    assert client.get(gone).status == "failed"
    assert [*refused] == [done.execution_id, UNKNOWN]
    assert isinstance(refused[done.execution_id], TransitionNotAllowedError)
    assert isinstance(refused[UNKNOWN], ExecutionNotFoundError)
    assert client.discard_dead_letters([gone]) == {}
    with pytest.raises(TypeError, match="must be a list of ids or handles"):
        client.discard_dead_letters(kept)


@pytest.mark.usefixtures("worker")
def test_a_redrive_with_another_input_runs_and_the_old_record_stays(client: Client) -> None:
    old = failed(client, 3, priority=90, metadata={"user": "ada"})
    before = client.get(old)

    handle = client.redrive(old, 4)

    assert handle.result(timeout=PATIENCE_S) == 2
    record = handle.get()
    assert (record.retried_from, record.priority) == (old, 90)
    assert (record.input, record.metadata, handle.existing) == ("4", {"user": "ada"}, False)
    assert client.get(old) == before


@pytest.mark.usefixtures("worker")
def test_a_redrive_with_another_config_replaces_all_of_it(client: Client) -> None:
    old = failed(client, 3, priority=90, timeout=7)

    record = client.redrive(old, retry=Retry(max_attempts=5)).get()

    assert (record.priority, record.input) == (50, "3")
    assert record.proto.config.timeout_ms == 300_000
    assert record.proto.config.retry.max_attempts == 5


def test_an_execution_has_one_unfinished_redrive(client: Client) -> None:
    old = client.enqueue("halve", 3)
    old.cancel()

    first, second = client.redrive(old), client.redrive(old.execution_id, 8)

    assert (first.existing, second.existing) == (False, True)
    assert first.execution_id == second.execution_id
    first.cancel()
    assert client.redrive(old).execution_id != first.execution_id


def test_a_repeated_request_id_is_one_redrive(client: Client) -> None:
    old = client.enqueue("halve", 3)
    old.cancel()
    first = client.redrive(old, request_id="r1")
    first.cancel()

    assert client.redrive(old, request_id="r1").execution_id == first.execution_id


def test_redrives_that_are_refused(client: Client) -> None:
    living = client.enqueue("halve", 3, dedup_key="k")
    with pytest.raises(TransitionNotAllowedError) as refused:
        client.redrive(living)
    assert (refused.value.status, refused.value.event) == ("queued", "redriven")
    with pytest.raises(ExecutionNotFoundError):
        client.redrive(UNKNOWN)
    with pytest.raises(InvalidInputError, match="delay is no option of a redrive"):
        client.redrive(living, delay=3)  # type: ignore[call-arg]  # what is tested
    living.cancel()
    client.enqueue("halve", 5, dedup_key="k")
    with pytest.raises(AlreadyExistsError):
        client.redrive(living)


@pytest.mark.usefixtures("worker")
def test_a_task_record_is_another_view_of_the_execution(client: Client) -> None:
    old = failed(client, 3, metadata={"user": "ada", "tags": [1, "b"]})

    task = client.task_record(old)

    record = client.get(old)
    assert (task.id, task.state, task.attempts) == (old, "dead_lettered", 1)
    assert (task.error, task.output) == ("3 is odd", None)
    assert task.metadata == {"user": "ada", "tags": '[1,"b"]'}
    assert (task.created_at, task.finished_at) == (record.queued_at, record.completed_at)
    assert (task.is_failure, task.is_success, task.is_terminal) == (True, False, True)
    assert TaskRecord.from_json(task.to_json()) == task


@pytest.mark.usefixtures("worker")
def test_the_schema_json_of_a_task_has_times_in_milliseconds(client: Client) -> None:
    done = client.enqueue("halve", 8).wait(timeout=PATIENCE_S)

    told = json.loads(client.task_record(done).to_json())

    assert told == {
        "id": done.execution_id,
        "state": "completed",
        "attempts": 1,
        "createdAt": done.proto.queued_at.ToMilliseconds(),
        "updatedAt": done.proto.updated_at.ToMilliseconds(),
        "startedAt": done.proto.started_at.ToMilliseconds(),
        "finishedAt": done.proto.completed_at.ToMilliseconds(),
        "output": 4,
    }


@pytest.mark.usefixtures("worker")
def test_the_commands_list_redrive_and_discard(ask: Ask, plain: Client) -> None:
    first, second = failed(plain, 1), failed(plain, 3)

    shown = ask("dead-letters", "--limit", "1")
    assert shown.status == Exit.OK
    [_, row] = shown.out.splitlines()
    assert row.split()[:3] == [second, "failed", "halve"]
    assert "3 is odd" in row
    assert "only the newest 1 are shown" in shown.err
    told = [json.loads(line) for line in ask("dead-letters", "--json").out.splitlines()]
    assert [one["executionId"] for one in told] == [second, first]
    assert ask("dead-letters", "--callable", "never", "--json").out == ""

    made = ask("redrive", first, "--input", "6", "--priority", "9")
    assert (made.status, made.err) == (Exit.OK, "")
    record = plain.handle(made.out.strip()).wait(timeout=PATIENCE_S)
    assert (record.output, record.priority, record.retried_from) == (3, 9, first)
    assert f"redrives  {first}\n" in ask("get", record.execution_id).out

    told = [json.loads(line) for line in ask("discard", first, "--json").out.splitlines()]
    assert told == [{"executionId": first, "discarded": True}]
    assert ask("discard", first, second) == (Exit.OK, "", "")
    assert ask("dead-letters", "--json").out == ""


def test_the_redrive_of_what_is_being_redriven_prints_the_same_id(ask: Ask, plain: Client) -> None:
    old = plain.enqueue("halve", 3)
    old.cancel()

    first, again = ask("redrive", old.execution_id), ask("redrive", old.execution_id)

    assert (again.status, again.out) == (Exit.OK, first.out)
    made = first.out.strip()
    assert again.err == (f"backlane: {made} existed already, as a redrive of {old.execution_id}\n")


def test_commands_that_are_refused_say_why(ask: Ask, plain: Client) -> None:
    living = plain.enqueue("halve", 3).execution_id

    refused = ask("redrive", living)
    assert (refused.status, refused.out) == (Exit.REFUSED, "")
    assert f"execution {living} is queued and cannot be redriven" in refused.err
    refused = ask("discard", living, UNKNOWN)
    assert (refused.status, refused.out) == (Exit.REFUSED, "")
    first, second = refused.err.splitlines()
    assert f"execution {living} is queued and cannot be discarded" in first
    assert f"has no execution {UNKNOWN}" in second
    assert ask("task", UNKNOWN).status == Exit.NOT_FOUND


@pytest.mark.usefixtures("worker")
def test_the_command_shows_a_task(ask: Ask, plain: Client) -> None:
    old = failed(plain, 3, metadata={"user": "ada"})

    lines = ask("task", old).out.splitlines()

    assert lines[1].split() == ["state", "dead_lettered"]
    assert "error     3 is odd" in lines
    assert "metadata  user=ada" in lines
    told = json.loads(ask("task", old, "--json").out)
    assert (told["id"], told["state"]) == (old, "dead_lettered")


def _ids(executions: object) -> list[str]:
    return [one.execution_id for one in executions]  # type: ignore[attr-defined]  # of both kinds
