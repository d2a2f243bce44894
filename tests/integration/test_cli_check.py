"""The command that checks a data directory, on directories of real servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from backlane.cli.main import run
from backlane.testing.server import ServerProcess
from tests.integration.cli_process import Answer
from tests.plain_client import PlainClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TENANT = "tenant_acme"
EXECUTIONS = 40


class Made(NamedTuple):
    """A directory whose server was stopped, and the ids of its executions."""

    data: Path
    ids: list[str]

    @property
    def database(self) -> Path:
        return self.data / "backlane.db"


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs `backlane check` in this process."""

    def check(*arguments: object) -> Answer:
        status = run(["check", *map(str, arguments)])
        return Answer(status, *capsys.readouterr())

    return check


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A directory with some queued executions, which no server uses."""
    data = tmp_path / "data"
    with (
        ServerProcess.start(data, log=tmp_path / "server.log") as server,
        PlainClient(server.target, TENANT) as client,
    ):
        ids = [
            client.enqueue("mail", f"input {n}", request_id=f"r{n}").execution.execution_id
            for n in range(EXECUTIONS)
        ]
    return Made(data, ids)


def damage(made: Made, text: bytes) -> None:
    """Change a byte at the last place in the database at which a text stands."""
    database = bytearray(made.database.read_bytes())
    at = database.rindex(text)
    database[at] ^= 1
    made.database.write_bytes(database)


def served(data: Path, log: Path, ids: list[str]) -> dict[str, str]:
    """The inputs of executions, by id, as a server on a directory shows them."""
    with (
        ServerProcess.start(data, log=log) as server,
        PlainClient(server.target, TENANT) as client,
    ):
        return {execution_id: client.get(execution_id).input for execution_id in ids}


def test_a_whole_directory_is_status_0(made: Made, check: Callable[..., Answer]) -> None:
    answer = check(made.data)

    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("no damage: ")
    assert f"and {2 * EXECUTIONS} rows" in answer.out


def test_damage_is_status_7_and_one_line_each(made: Made, check: Callable[..., Answer]) -> None:
    damage(made, b"input 7")

    answer = check(made.data)
    *lines, summary = answer.out.splitlines()

    assert (answer.status, answer.err) == (7, "")
    assert lines
    assert [line for line in lines if "page" not in line] == []
    assert " of damage; " in summary


def test_json_is_one_object_with_counts_and_lines(made: Made, check: Callable[..., Answer]) -> None:
    whole = json.loads(check(made.data, "--json").out)
    damage(made, b"input 7")
    answer = check(made.data, "--json")
    damaged: dict[str, Any] = json.loads(answer.out)

    assert answer.status == 7
    assert whole["damage"] == []
    assert (whole["facts"], whole["rows"]) == (EXECUTIONS, 2 * EXECUTIONS)
    assert damaged.keys() == {"frames", "facts", "rows", "damage"}
    assert damaged["damage"]
    assert damaged["rows"] == whole["rows"] - 1


def test_a_salvage_makes_a_directory_that_a_server_serves(
    made: Made, check: Callable[..., Answer], tmp_path: Path
) -> None:
    damage(made, b"input 7")
    new = tmp_path / "new"

    answer = check(made.data, "--salvage", new)
    lost = [name for name in made.ids if name in answer.out]
    whole = [name for name in made.ids if name not in lost]
    inputs = served(new, tmp_path / "new.log", whole)

    assert (answer.status, answer.err) == (7, "")
    assert lost == [made.ids[7]]
    assert f"{EXECUTIONS} living executions were saved to {new}" in answer.out
    assert inputs == {name: f"input {made.ids.index(name)}" for name in whole}


def test_the_json_of_a_salvage_names_the_executions_that_lost_something(
    made: Made, check: Callable[..., Answer], tmp_path: Path
) -> None:
    damage(made, b"input 7")

    saved = json.loads(check(made.data, "--salvage", tmp_path / "new", "--json").out)

    assert saved["living"] == EXECUTIONS
    assert (saved["failed"], saved["uncertain"]) == ([], [])
    assert saved["without_payload"] == [made.ids[7]]


def test_a_directory_in_use_is_refused(
    made: Made, check: Callable[..., Answer], tmp_path: Path
) -> None:
    with ServerProcess.start(made.data, log=tmp_path / "again.log") as user:
        answer = check(made.data)

    assert (answer.status, answer.out) == (2, "")
    assert f"{made.data} is in use by process {user.process.pid}" in answer.err


def test_a_salvage_into_a_directory_that_is_not_empty_is_refused(
    made: Made, check: Callable[..., Answer], tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "letter").write_text("dear")

    answer = check(made.data, "--salvage", new)

    assert (answer.status, answer.out) == (2, "")
    assert f"{new} is not empty" in answer.err
    assert [file.name for file in new.iterdir()] == ["letter"]


def test_a_directory_without_data_is_refused(check: Callable[..., Answer], tmp_path: Path) -> None:
    answer = check(tmp_path)

    assert (answer.status, answer.out) == (2, "")
    assert str(tmp_path / "backlane.db") in answer.err
    assert list(tmp_path.iterdir()) == []


def test_the_help_tells_the_exit_statuses(check: Callable[..., Answer]) -> None:
    answer = check("--help")
    words = " ".join(answer.out.split())

    assert answer.status == 0
    assert "7 the data directory is damaged" in words
    assert "--salvage" in words
