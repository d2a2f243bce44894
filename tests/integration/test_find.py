"""Lists with filters, and counts, as a user meets them: by both clients and on commands."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from backlane import Client
from backlane.cli.exits import Exit
from backlane.errors import (
    ExecutionNotFoundError,
    InvalidArgumentError,
    TransitionNotAllowedError,
)
from tests.integration.client_kinds import KINDS, open_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from backlane.schema.records import BackgroundExecution
    from backlane.testing import ServerProcess
    from tests.integration.cli_process import Ask


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


def four(client: Client) -> list[str]:
    """Enqueue two executions of each of two callables, and cancel the last one."""
    handles = [
        client.enqueue(name, metadata={"team": team, "size": size, "odd": 'a"*\\b'})
        for name in ("mail.send", "charge")
        for team, size in (("ops", 1), ("sales", 2))
    ]
    handles[-1].cancel()
    return [handle.execution_id for handle in handles]


def _ids(found: Iterable[BackgroundExecution]) -> list[str]:
    return [execution.execution_id for execution in found]


def test_a_list_can_be_narrowed_by_each_keyword(client: Client) -> None:
    a, b, c, d = four(client)

    assert _ids(client.list()) == [d, c, b, a]
    assert _ids(client.list(callable_name="mail.*")) == [b, a]
    assert _ids(client.list(metadata={"team": "ops"})) == [c, a]
    assert _ids(client.list(metadata={"size": 2, "odd": 'a"*\\b'})) == [d, b]
    assert _ids(client.list(status="cancelled", callable_name="charge")) == [d]
    assert _ids(client.list(since=timedelta(hours=1), limit=1)) == [d]
    assert _ids(client.list(until=timedelta(hours=1))) == []
    assert _ids(client.list(filter="status = cancelled OR metadata.team = ops")) == [d, c, a]


def test_a_count_has_the_keywords_of_a_list(client: Client) -> None:
    four(client)

    assert client.count() == 4
    assert client.count(status="queued", metadata={"team": "sales"}) == 1
    assert client.count(filter="callable = mail.send OR status = cancelled") == 3
    assert client.count(callable_name="other") == 0


def test_a_filter_that_cannot_be_read_points_at_the_character(client: Client) -> None:
    expected = "at character 10: expected a status: "
    with pytest.raises(InvalidArgumentError, match=expected):
        list(client.list(filter="status = faild"))
    with pytest.raises(InvalidArgumentError, match=expected):
        client.count(filter="status = faild", callable_name="mail")


def test_the_command_list_has_the_same_options(ask: Ask, plain: Client) -> None:
    a, b, c, d = four(plain)

    def shown(*options: str) -> list[str]:
        answer = ask("list", "--json", *options)
        assert answer.status == Exit.OK
        return [json.loads(line)["executionId"] for line in answer.out.splitlines()]

    assert shown("--callable", "mail.*") == [b, a]
    assert shown("--metadata", "team=ops", "--metadata", "size=1") == [c, a]
    assert shown("--since", "1h", "--status", "cancelled") == [d]
    assert shown("--until", "1h") == []
    assert shown("--failed") == []
    assert shown("--filter", "NOT status = queued") == [d]


def test_the_command_count_counts(ask: Ask, plain: Client) -> None:
    four(plain)

    assert ask("count").out == "4\n"
    assert ask("count", "--callable", "charge", "--json").out == '{"count": 2}\n'


def test_options_that_cannot_be_used_are_refused(ask: Ask) -> None:
    refused = ask("list", "--filter", "status = faild")
    assert refused.status == Exit.USAGE
    assert "at character 10: expected a status: queued, running" in refused.err
    for options, words in (
        (("--failed", "--status", "queued"), "it cannot be combined with --status"),
        (("--since", "soon"), "neither an instant"),
        (("--metadata", "team"), "'team' is not KEY=VALUE"),
        (("--metadata", "team=[1]"), "use --filter"),
    ):
        answer = ask("count", *options)
        assert answer.status == Exit.USAGE
        assert words in answer.err


def test_a_deleted_execution_is_gone(client: Client) -> None:
    a, b, c, d = four(client)

    with pytest.raises(TransitionNotAllowedError, match=f"execution {a} is queued and cannot be"):
        client.delete(a)
    client.delete(d)

    assert client.count() == 3
    assert _ids(client.list()) == [c, b, a]
    with pytest.raises(ExecutionNotFoundError):
        client.get(d)
    with pytest.raises(ExecutionNotFoundError):
        client.handle(d).delete()


def test_the_command_delete_deletes(ask: Ask, plain: Client) -> None:
    a, *_, d = four(plain)

    answer = ask("delete", d)
    assert (answer.status, answer.out) == (Exit.OK, f"{d} deleted\n")
    assert ask("get", d).status != Exit.OK
    refused = ask("delete", a)
    assert refused.status == Exit.REFUSED
    assert f"execution {a} is queued and cannot be deleted" in refused.err
