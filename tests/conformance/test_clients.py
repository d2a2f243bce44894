"""Clients in other languages: after killed workers and servers every result is right."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from backlane.v1 import execution_pb2 as records
from tests.conformance.clients import programs
from tests.conformance.clients.stage import Stage
from tests.conformance.door import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.conformance.clients.programs import Command
    from tests.conftest import StartServer

COMPLETED: Final = records.BACKGROUND_EXECUTION_STATUS_COMPLETED
FAILED: Final = records.BACKGROUND_EXECUTION_STATUS_FAILED
CANCELLED: Final = records.BACKGROUND_EXECUTION_STATUS_CANCELLED
QUEUED: Final = records.BACKGROUND_EXECUTION_STATUS_QUEUED
TOOL_ERROR: Final = records.ERROR_CATEGORY_TOOL_ERROR
VALIDATION_ERROR: Final = records.ERROR_CATEGORY_VALIDATION_ERROR
LINE_LENGTH_MAX: Final = 100
SUMS: Final = 400
HOLDS: Final = ('{"ms": 1500}',) * 8
"""Longer than it takes to see that they run and to kill something."""
URGENT: Final = 90

WORKERS: dict[str, Callable[[], Command]] = {
    "go": lambda: programs.go_program("worker"),
    "node": lambda: programs.node_program("bin/worker.js"),
    "python": lambda: (sys.executable, str(programs.CLIENTS / "python" / "conformance_worker.py")),
}
PRODUCERS: dict[str, Callable[[], Command]] = {
    "go": lambda: programs.go_program("producer"),
    "node": lambda: programs.node_program("bin/producer.js"),
}
OTHERS: Final = ("go", "node")
# Builds are slow where nothing is built yet.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(programs.BUILD_TIMEOUT_S)]


@pytest.fixture
def stage(own_server: StartServer, tmp_path: Path) -> Iterator[Stage]:
    """A server of the test's own."""
    with Stage(own_server(tmp_path / "data"), tmp_path) as opened:
        yield opened


class Sums:
    """A producer of executions that add up numbers."""

    def __init__(self, stage: Stage, command: Command, name: str) -> None:
        """Start it; its requests are named after it."""
        pairs = [f'{{"numbers": [{number}, {number}]}}' for number in range(SUMS)]
        self._stage = stage
        self._name = name
        self._process = stage.produce(command, name, pairs)

    def check(self) -> None:
        """Wait for all of them: each is there, with its own sum."""
        lines = self._stage.printed(self._name, self._process)
        outputs = [(line["status"], line["output"]) for line in lines]
        assert outputs == [("completed", {"sum": 2 * number}) for number in range(SUMS)]


@pytest.mark.parametrize(
    ("worker", "producer", "door"),
    [
        ("go", "go", "stream"),
        ("go", "node", "batch"),
        ("node", "node", "stream"),
        ("node", "go", "batch"),
        ("python", "go", "stream"),
    ],
)
def test_nothing_is_lost_or_done_twice_whoever_is_killed(
    stage: Stage, worker: str, producer: str, door: str
) -> None:
    work, produce = WORKERS[worker](), (*PRODUCERS[producer](), "--by", door)
    first, second = stage.work(work, "first"), stage.work(work, "second")

    # A worker is killed with leases in its hands.
    sums = [Sums(stage, produce, "while-a-worker-is-killed")]
    holds = stage.enqueue("conformance.hold", *HOLDS, priority=URGENT)
    robbed = stage.begun_by("first", holds)
    first.kill()
    stage.work(work, "third")
    assert {hold.attempt for hold in stage.ended(robbed)} == {2}

    # The server is killed while both workers run something: they come back with what they hold.
    sums.append(Sums(stage, produce, "while-the-server-is-killed"))
    kept = stage.enqueue("conformance.hold", *HOLDS, priority=URGENT)
    stage.begun_by("second", kept)
    stage.begun_by("third", kept)
    stage.server.restart()
    assert {hold.attempt for hold in stage.ended(kept)} == {1}

    # A worker is told to stop: it ends what it runs, and takes nothing more.
    sums.append(Sums(stage, produce, "while-a-worker-drains"))
    holds = stage.enqueue("conformance.hold", *HOLDS, priority=URGENT)
    last = stage.begun_by("second", holds)
    second.send_signal(signal.SIGTERM)
    assert second.wait(10) == 0
    assert {(hold.attempt, hold.worker_id) for hold in stage.ended(last)} == {(1, "second")}

    for each in sums:
        each.check()
    stage.ended(holds)
    check_records(stage.everything(), 3 * SUMS + len(stage.made))


def check_records(everything: Sequence[records.BackgroundExecution], count: int) -> None:
    """So many executions were made, and each accepted one result."""
    assert len(everything) == count
    assert {record.status for record in everything} == {COMPLETED}
    # A version is one change: made; leased and lost, but for the last time; leased, completed.
    assert [record.version for record in everything] == [
        1 + 2 * record.attempt for record in everything
    ]


@pytest.mark.parametrize("worker", OTHERS)
def test_a_cancel_and_a_timeout_stop_what_runs(stage: Stage, worker: str) -> None:
    stage.work(WORKERS[worker](), "first")
    cancelled = stage.enqueue("conformance.hold", "{}")
    stage.begun_by("first", cancelled)
    stage.cancel(*cancelled)
    late = stage.enqueue("conformance.hold", "{}", timeout_ms=200)

    assert [record.status for record in stage.ended(cancelled)] == [CANCELLED]
    assert [record.error.code for record in stage.ended(late)] == ["ATTEMPT_TIMEOUT"]


@pytest.mark.parametrize("worker", OTHERS)
def test_an_error_says_what_kind_it_is(stage: Stage, worker: str) -> None:
    stage.work(WORKERS[worker](), "first")
    made = stage.enqueue("conformance.fail", '"no such file"')
    made += stage.enqueue("conformance.sum", "no JSON")
    told = [record.error for record in stage.ended(made)]

    assert [error.category for error in told] == [TOOL_ERROR, VALIDATION_ERROR]
    assert told[0].message == "no such file"


@pytest.mark.parametrize("worker", OTHERS)
def test_an_output_that_the_server_refuses_fails_alone(stage: Stage, worker: str) -> None:
    stage.work(WORKERS[worker](), "first", concurrency=8)
    large, deep = json.dumps("x" * (MIB - 2)), "[" * 30 + "]" * 30
    made = stage.enqueue("conformance.echo", "1", deep, "2", large, "3")
    ended = stage.ended(made)

    assert [record.status for record in ended] == [COMPLETED, FAILED, COMPLETED, FAILED, COMPLETED]
    assert "TOO_LARGE" in ended[3].error.message
    assert "INVALID_ARGUMENT" in ended[1].error.message


@pytest.mark.parametrize("worker", OTHERS)
def test_a_drain_gives_back_what_does_not_end(stage: Stage, worker: str) -> None:
    process = stage.work(WORKERS[worker](), "first", drain_ms=100)
    made = stage.enqueue("conformance.hold", "{}")
    stage.begun_by("first", made)
    process.send_signal(signal.SIGTERM)

    assert process.wait(10) == 0
    record = stage.get(*made)
    assert (record.status, record.attempt) == (QUEUED, 1)


@pytest.mark.parametrize("worker", OTHERS)
def test_a_worker_says_when_it_is_connected(stage: Stage, worker: str) -> None:
    stage.work(WORKERS[worker](), "first")

    assert "connected" in stage.log("first")


@pytest.mark.parametrize("worker", OTHERS)
def test_a_worker_without_a_server_can_be_stopped(stage: Stage, worker: str) -> None:
    process = stage.work(WORKERS[worker](), "first")
    stage.server.kill()
    process.send_signal(signal.SIGTERM)

    assert process.wait(10) == 0


@pytest.mark.parametrize("worker", OTHERS)
def test_a_worker_that_the_server_refuses_says_why(stage: Stage, worker: str) -> None:
    process = stage.start(WORKERS[worker](), "refused", {"BACKLANE_WORKER_NAME": "no good"})

    assert process.wait(10) == 1
    assert "worker_id" in stage.log("refused")


def test_a_callable_that_blocks_node_keeps_its_lease(stage: Stage) -> None:
    stage.work(programs.node_program("fixtures/blocking-worker.js"), "first")
    [record] = stage.ended(stage.enqueue("conformance.block", '{"ms": 3000}'))

    assert (record.status, record.attempt) == (COMPLETED, 1)


def test_the_go_code_is_in_order() -> None:
    programs.run(programs.GO, "go", "vet", "./...")
    programs.run(programs.GO, "go", "test", "./...")
    programs.run(programs.GO, "go", "mod", "tidy", "-diff")
    written = [str(path) for path in programs.GO.rglob("*.go")]

    assert programs.run(programs.GO, "go", "run", "cmd/gofmt", "-l", *written) == ""


def test_the_generated_go_code_is_what_the_messages_say(tmp_path: Path) -> None:
    programs.go_tool("protoc-gen-go")
    programs.run(programs.GO, "buf", "generate", "--output", str(tmp_path))
    fresh, committed = (contents(folder / "gen") for folder in (tmp_path, programs.GO))

    assert sorted(fresh) == sorted(committed)
    assert [name for name in fresh if fresh[name] != committed[name]] == []


def contents(folder: Path) -> dict[Path, bytes]:
    """The files of a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in found}


@pytest.mark.parametrize("program", ["worker", "producer"])
def test_an_option_that_node_does_not_know_shows_those_it_does(program: str) -> None:
    command = (*programs.node_program(f"bin/{program}.js"), "--help")
    run = subprocess.run(command, capture_output=True, check=False, text=True, timeout=30)

    assert (run.returncode, run.stdout) == (2, "")
    assert "\n  --target 127.0.0.1:7433\n" in run.stderr
    assert "node:internal" not in run.stderr


def test_the_node_code_is_in_order() -> None:
    programs.node_program("bin/worker.js")
    written = [path for folder in ("bin", "lib") for path in (programs.NODE / folder).rglob("*.js")]
    for path in written:
        programs.run(programs.NODE, "node", "--check", str(path))
    programs.run(programs.NODE, "node", "--test")


def test_no_line_of_a_client_is_too_long() -> None:
    written = [*programs.GO.rglob("*.go"), *programs.NODE.glob("*/**/*.js")]
    generated = {programs.GO / "gen", programs.NODE / "node_modules"}
    own = [path for path in written if not generated & set(path.parents)]
    long = [
        f"{path}:{number}"
        for path in own
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line.expandtabs(4)) > LINE_LENGTH_MAX
    ]

    assert {path.suffix for path in own} == {".go", ".js"}
    assert long == []
