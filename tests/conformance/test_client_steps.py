"""Steps and waits of clients in other languages, on a real server: what is recorded is used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from tests.conformance.clients import programs
from tests.conformance.clients.stage import Stage
from tests.conformance.test_clients import WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.conftest import StartServer

STEPS: Final = "conformance.steps"
NAMES: Final = ("a", "b", "a", "c", "b")
COMPLETED: Final = records.BACKGROUND_EXECUTION_STATUS_COMPLETED
KEY: Final = "approve"
WAITS: Final = json.dumps({"steps": NAMES, "wait": {"name": KEY, "key": KEY}})
DOES_NOT_WAIT: Final = json.dumps({"steps": NAMES})
MANY: Final = tuple(f"step {number % 7}" for number in range(90))
LONG: Final = json.dumps({"steps": MANY})
"""Enough to do something about it while it runs."""
COUNT: Final = 300
pytestmark = [pytest.mark.slow, pytest.mark.timeout(programs.BUILD_TIMEOUT_S)]


@pytest.fixture
def stage(own_server: StartServer, tmp_path: Path) -> Iterator[Stage]:
    """A server of the test's own."""
    with Stage(own_server(tmp_path / "data"), tmp_path) as opened:
        yield opened


def completed(run: records.Execution) -> list[records.Step]:
    """The completed steps of a run, in order, without its waits."""
    steps = [run.steps[step_id] for step_id in run.step_order]
    return [
        step
        for step in steps
        if step.state == records.STEP_STATE_COMPLETED and step.step_type != records.STEP_TYPE_WAIT
    ]


def is_waiting(run: records.Execution) -> bool:
    """Whether a run waits for its input."""
    return run.state == records.EXECUTION_STATE_WAITING


def is_paused(run: records.Execution) -> bool:
    """Whether a run is paused."""
    return run.state == records.EXECUTION_STATE_PAUSED


def has_begun(run: records.Execution) -> bool:
    """Whether some steps of a run are recorded."""
    return len(run.steps) > 2


def check(
    stage: Stage, execution_ids: Sequence[str], given: object, names: Sequence[str] = NAMES
) -> None:
    """Each execution completed; each of its steps did so once, and its output was returned."""
    for record in stage.ended(execution_ids):
        assert record.status == COMPLETED, record.error
        steps = completed(stage.run_of(record.execution_id))
        assert [step.name for step in steps] == list(names)
        outputs = [json.loads(step.output) for step in steps]
        assert from_value(record.output) == {"outputs": outputs, "input": given}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("go", "go"),
        ("node", "node"),
        ("go", "node"),
        ("node", "go"),
        ("python", "python"),
        ("go", "python"),
        ("python", "node"),
    ],
)
def test_a_wait_outlives_its_worker_and_its_server(stage: Stage, before: str, after: str) -> None:
    first = stage.work(WORKERS[before](), "first")
    made = stage.enqueue(STEPS, *[WAITS] * 8)
    # More than there are slots: a wait holds none.
    for one in made:
        stage.until(one, is_waiting)
    known = {one: completed(stage.run_of(one)) for one in made}
    first.kill()
    stage.server.restart()
    stage.work(WORKERS[after](), "second")
    for one in made:
        stage.provide(one, KEY, '{"by": "alice"}')

    check(stage, made, {"by": "alice"})
    assert {one: completed(stage.run_of(one)) for one in made} == known


@pytest.mark.parametrize("worker", WORKERS)
def test_steps_outlive_a_worker_that_is_killed(stage: Stage, worker: str) -> None:
    first = stage.work(WORKERS[worker](), "first")
    made = stage.enqueue(STEPS, *[LONG] * 8)
    stage.until(made[0], has_begun)
    first.kill()
    known = {one: completed(stage.run_of(one)) for one in made}
    stage.work(WORKERS[worker](), "second")

    check(stage, made, None, MANY)
    assert {stage.get(one).attempt for one in made[:4]} == {2}
    for one in made:
        assert completed(stage.run_of(one))[: len(known[one])] == known[one]


@pytest.mark.parametrize("worker", WORKERS)
def test_a_pause_stops_between_steps(stage: Stage, worker: str) -> None:
    stage.work(WORKERS[worker](), "first")
    [made] = stage.enqueue(STEPS, LONG)
    stage.until(made, has_begun)
    stage.pause(made)
    stage.yielded(made)
    assert is_paused(stage.run_of(made))
    stage.resume(made)

    check(stage, [made], None, MANY)
    run = stage.run_of(made)
    assert len(run.steps) == len(MANY)
    assert stage.get(made).attempt == 1


@pytest.mark.parametrize("worker", WORKERS)
def test_steps_outlive_a_server_that_is_killed(stage: Stage, worker: str) -> None:
    stage.work(WORKERS[worker](), "first", concurrency=8)
    made = stage.enqueue(STEPS, *[DOES_NOT_WAIT] * COUNT)
    stage.ended(made[:10])
    stage.server.restart()

    check(stage, made, None)
    # No step was begun twice: the worker kept what it held, and repeated its reports.
    assert {len(stage.run_of(one).steps) for one in made} == {len(NAMES)}
