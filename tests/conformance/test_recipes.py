"""Runs the recipes for grpcurl and ghz with the real programs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest

from backlane.v1 import execution_service_pb2 as api
from tests.conformance.clients import programs
from tests.conformance.door import UNKNOWN_ID

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.door import Door

RECIPES: Final = programs.ROOT / "tests" / "conformance" / "recipes.md"
PROTOCOL: Final = programs.ROOT / "proto" / "README.md"
PLACE: Final = "127.0.0.1:7433"
TIMEOUT_S: Final = 60
# The programs are built at the first use.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(programs.BUILD_TIMEOUT_S)]


class Shell:
    """Runs recipes against the server under test, for a tenant that nobody else uses."""

    def __init__(self, target: str, tenant: str) -> None:
        """Nothing is known yet but where the server is and whose executions are meant."""
        self._values = {PLACE: target, "tenant_acme": tenant}

    def know(self, variable: str, value: str) -> None:
        """Put a value where that variable stands, from now on."""
        self._values[variable] = value

    def run(self, line: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run one line of a page, with more words at its end."""
        for variable, value in self._values.items():
            line = line.replace(variable, value)
        program, *words = shlex.split(line)
        command = [*programs.go_tool(program), *more, *words]
        return subprocess.run(
            command,
            check=False,
            cwd=programs.ROOT,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )

    def json(self, line: str, *more: str) -> Any:  # noqa: ANN401  # whatever it prints
        """Run one line and read what it prints."""
        done = self.run(line, *more)
        assert (done.stderr, done.returncode) == ("", 0), line
        return json.loads(done.stdout)


@pytest.fixture
def shell(target: str, door: Door) -> Shell:
    """The server, through the programs of a shell."""
    return Shell(target, door.tenant)


def lines(page: Path, program: str) -> list[str]:
    """The lines of a page that start with a program, but for those in a session."""
    return re.findall(rf"(?m)^{program} .*$", page.read_text(encoding="utf-8"))


def test_grpcurl_plays_the_examples_of_the_protocol_page(shell: Shell) -> None:
    examples = lines(PROTOCOL, "grpcurl")
    answers = []
    for line in examples:
        answer = shell.json(line)
        answers.append(answer)
        refused = [item for item in answer.get("outcomes", []) if "status" in item]
        assert refused == [], line
        if line.endswith("/Enqueue"):
            shell.know("$EXECUTION", answer["execution"]["executionId"])
        for lease in answer.get("leases", []):
            shell.know("$TOKEN", lease["leaseToken"])

    assert len(answers) == 38
    calls = [line.rpartition("/")[2] for line in examples]
    [completed] = answers[calls.index("Complete")]["outcomes"]
    assert completed["result"]["status"] == "BACKGROUND_EXECUTION_STATUS_COMPLETED"


def test_grpcurl_shows_what_is_served_and_takes_streams(shell: Shell) -> None:
    listed, described, healthy, enqueued, worked = [
        shell.run(line) for line in lines(RECIPES, "grpcurl")
    ]

    assert {"backlane.v1.ExecutionService", "backlane.v1.WorkerService"} <= set(
        listed.stdout.split()
    )
    assert "optional string input = 3;" in described.stdout
    assert json.loads(healthy.stdout) == {"status": "SERVING"}
    assert enqueued.stdout.count('": "exec_') == 2
    assert '"welcome"' in worked.stdout
    assert [done.returncode for done in (enqueued, worked)] == [0, 0]


def test_grpcurl_shows_errors_with_their_reason(shell: Shell) -> None:
    [line] = re.findall(r"(?m)^\$ (grpcurl .*)$", RECIPES.read_text(encoding="utf-8"))
    refused = shell.run(line)

    assert refused.returncode != 0
    assert "Code: NotFound" in refused.stderr
    assert '"reason": "EXECUTION_NOT_FOUND"' in refused.stderr
    assert UNKNOWN_ID in refused.stderr


def test_ghz_gets_an_ok_for_every_call(shell: Shell, door: Door) -> None:
    recipes = lines(RECIPES, "ghz")
    for line in recipes:
        report = shell.json(line, "--format", "json")
        [count] = re.findall(r" -n (\d+) ", line)
        assert (report["count"], report["statusCodeDistribution"]) == (
            int(count),
            {"OK": int(count)},
        ), line
        if line == recipes[0]:
            [newest] = door.call("Peek", api.PeekRequest(tenant_id=door.tenant, limit=1)).executions
            shell.know("$EXECUTION", newest.execution_id)

    # All that the enqueues made is there, and the leases took every one of it.
    stats = {each.callable_name: each for each in door.stats().callables}
    assert stats["wait"].ready == 20
    assert (stats["resize"].ready, stats["resize"].running) == (0, 200 + 40 + 40)
