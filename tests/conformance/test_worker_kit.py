"""The worker conformance kit, with workers that keep all rules and one that breaks each rule."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backlane.testing.conformance import RULES, check_rules
from tests.conformance.broken_workers.faults import FAULTS, OTHERS_TOO
from tests.conformance.broken_workers.matrix import SMALL, broken_by, unexpected
from tests.conformance.clients import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[2]
WORKERS: dict[str, Callable[[], Sequence[str]]] = {
    "small": lambda: SMALL,
    "python": lambda: (sys.executable, str(programs.CLIENTS / "python" / "conformance_worker.py")),
    "go": lambda: programs.go_program("worker"),
    "node": lambda: programs.node_program("bin/worker.js"),
}
"""How each worker program is started, built where it has to be."""


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of the tests are modules of the checkout, wherever pytest was started."""
    monkeypatch.chdir(ROOT)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def broken_rules(command: Sequence[str]) -> dict[str, str]:
    """The rules that a program breaks, and how."""
    verdicts = list(check_rules(RULES, command))
    assert len(verdicts) == len(RULES)
    return {each.rule.name: each.explanation for each in verdicts if each.is_broken}


@pytest.mark.slow
@pytest.mark.timeout(programs.BUILD_TIMEOUT_S)
@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_keeps_every_rule(name: str) -> None:
    assert broken_rules(WORKERS[name]()) == {}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_fault_is_found_by_the_rules_about_it_and_by_no_neighbours() -> None:
    parts = {
        fault: {rule.check.__module__ for rule in RULES if rule.name in names}
        for fault, names in FAULTS.items()
    }
    # All of them at once: most of the time is spent in waiting in vain.
    found = broken_by(
        (fault, rule) for fault in FAULTS for rule in RULES if rule.check.__module__ in parts[fault]
    )
    wrong = {fault: unexpected(fault, found[fault]) for fault in FAULTS}

    assert {fault: names for fault, names in wrong.items() if names} == {}


def test_every_rule_has_a_fault_that_breaks_it() -> None:
    broken = {name for names in FAULTS.values() for name in names}

    assert broken - {OTHERS_TOO} == {rule.name for rule in RULES}


def test_every_rule_says_what_it_demands_and_where_that_is_written() -> None:
    page = (ROOT / "proto" / "README.md").read_text(encoding="utf-8")
    for rule in RULES:
        assert rule.sentence.endswith(".")
        number = rule.section.removeprefix("§").split(".")[0].split(" ")[0].split(",")[0]
        assert f"\n## {number}. " in page


def kit(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "backlane", "conformance", "worker", *arguments]
    return subprocess.run(command, capture_output=True, check=False, text=True, timeout=50)


def test_the_command_says_what_was_kept_and_exits_with_0() -> None:
    run = kit("--rule", "hello-is-valid", "--", *SMALL)

    first, *_, last = run.stdout.splitlines()
    assert first.startswith("kept    hello-is-valid ")
    assert last == "1 rules kept, 0 broken"
    assert run.returncode == 0


def test_the_command_explains_what_was_broken_and_exits_with_1() -> None:
    run = kit("--rule", "hello-is-valid", "--json", "--", *SMALL, "--fault", "short-lease")

    told = json.loads(run.stdout)
    assert (told["rule"], told["kept"]) == ("hello-is-valid", False)
    assert told["explanation"] == "lease_duration_ms is 500, and BACKLANE_LEASE_MS is 3000"
    assert any("hello" in line for line in told["transcript"])
    assert run.returncode == 1


def test_a_rule_about_something_that_is_not_offered_is_neither_kept_nor_broken() -> None:
    command = ("--", *SMALL, "--fault", "no-steps")
    run = kit("--rule", "hello-is-valid", "--rule", "a-wait-suspends", *command)

    kept, idle, why, last = run.stdout.splitlines()
    assert (kept.split()[0], idle.split()[:2]) == ("kept", ["n/a", "a-wait-suspends"])
    assert why == "    Not applicable: the program does not offer conformance.steps"
    assert last == "1 rules kept, 0 broken, 1 not applicable"
    assert run.returncode == 0

    told = json.loads(kit("--rule", "a-wait-suspends", "--json", *command).stdout)
    assert (told["kept"], told["applicable"]) == (False, False)
    assert told["explanation"] == "the program does not offer conformance.steps"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--", "./no-such-program"], "cannot run ./no-such-program: No such file or directory"),
        (
            [],
            "name the program after --, as in `backlane conformance worker -- python worker.py`",
        ),
        (["--rule", "nonsense", "--", "x"], "there is no rule nonsense: see --list"),
    ],
)
def test_what_cannot_be_checked_is_one_line(arguments: list[str], said: str) -> None:
    run = kit(*arguments)

    assert (run.returncode, run.stdout, run.stderr) == (2, "", f"backlane: {said}\n")


def test_a_program_that_ends_without_connecting_is_told_so() -> None:
    run = kit("--", sys.executable, "-c", "raise SystemExit('no such callable')")

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        "backlane: the program ended with 1 and did not open a Work stream to BACKLANE_TARGET; "
        "its last line: no such callable\n"
    )


STRANGER = """\
import backlane

worker = backlane.Worker()
worker.callable(len, name="length")
worker.run()
"""


def test_a_program_that_does_not_offer_what_rules_lease_is_told_so_once() -> None:
    run = kit("--", sys.executable, "-c", STRANGER)

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        "backlane: the program does not offer conformance.echo, conformance.fail, "
        "conformance.hold, conformance.sum; it offers length\n"
    )


def test_an_interrupt_ends_the_command_and_its_programs() -> None:
    command = [sys.executable, "-m", "backlane", "conformance", "worker", "--", *SMALL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)

        assert process.wait(50) == 130


def test_the_rules_can_be_listed() -> None:
    run = kit("--list", "--json")

    assert [json.loads(line)["rule"] for line in run.stdout.splitlines()] == [
        rule.name for rule in RULES
    ]
