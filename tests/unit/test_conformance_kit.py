"""The parts of the conformance kit: ledger, verdicts, command."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

import pytest

from backlane.cli import conformance as command
from backlane.cli.main import run
from backlane.testing.conformance import RULES, check_rules
from backlane.testing.conformance import stage as stages
from backlane.testing.conformance.breach import BrokenRuleError, demand
from backlane.testing.conformance.leases import ECHO, STEPS, make_lease, refs
from backlane.testing.conformance.ledger import Ledger
from backlane.testing.conformance.program import CannotStartError, Program
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.steps import begun, demand_new, recorded
from backlane.testing.conformance.transcript import LINE_MAX, LINES_MAX, Transcript, describe
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage

PATIENCE_S: Final = 5.0
ENDS_AT_ONCE: Final = (sys.executable, "-c", "import sys; sys.exit('no \\x1b[31mluck')")
NEVER_CONNECTED: Final = (
    "the program ended with 1 and did not open a Work stream to BACKLANE_TARGET"
)
LEASE: Final = "lt_one"
HELLO: Final = api.WorkRequest(hello=api.WorkHello(worker_id="w"))


def credit(executions: int) -> api.WorkRequest:
    return api.WorkRequest(credit=api.WorkCredit(executions=executions))


def acknowledgement(lease: api.Lease) -> api.WorkRequest:
    return api.WorkRequest(acknowledge=api.WorkAcknowledge(leases=refs([lease])))


def completion(*leases: api.Lease) -> api.WorkRequest:
    results = [
        api.CompleteResult(execution_id=ref.execution_id, lease_token=ref.lease_token)
        for ref in refs(leases)
    ]
    return api.WorkRequest(complete=api.CompleteRequest(results=results))


# Books.


def test_credit_and_what_runs_are_counted_together() -> None:
    ledger = Ledger()
    lease = make_lease(ECHO)
    ledger.note(credit(2), 1.0)
    ledger.give([lease])
    assert (ledger.credit, ledger.running) == (1, {lease.lease_token})

    # Credit before the report of what it is for: a third slot, for a moment.
    ledger.note(credit(1), 2.0)
    ledger.note(completion(lease), 3.0)
    assert (ledger.credit, ledger.running, ledger.most) == (2, set(), 3)


def test_credit_after_a_report_is_no_more_than_before() -> None:
    ledger = Ledger()
    lease = make_lease(ECHO)
    ledger.note(credit(1), 1.0)
    ledger.give([lease])
    ledger.note(completion(lease), 2.0)
    ledger.note(credit(1), 3.0)

    assert (ledger.credit, ledger.most) == (1, 1)


def test_reports_are_kept_with_their_message_and_time() -> None:
    ledger = Ledger()
    first, second = make_lease(ECHO), make_lease(ECHO)
    ledger.note(acknowledgement(first), 1.0)
    ledger.note(acknowledgement(first), 2.0)
    reports = ledger.note(completion(first, second), 3.0)

    assert reports == ledger.reports
    told = [(report.kind, report.token, report.at, report.message) for report in reports]
    assert told == [
        ("complete", first.lease_token, 3.0, 2),
        ("complete", second.lease_token, 3.0, 2),
    ]
    assert ledger.acknowledged == {first.lease_token: 0, second.lease_token: 2}
    assert ledger.count("acknowledge") == 2


def test_a_lease_that_is_lost_runs_no_more() -> None:
    ledger = Ledger()
    ledger.take_over(["a", "b"])
    ledger.withdraw(["a"])

    assert ledger.running == {"b"}


def test_a_report_of_steps_leaves_its_lease_running_and_a_suspension_ends_it() -> None:
    ledger = Ledger()
    lease = make_lease(STEPS)
    [ref] = refs([lease])
    ledger.give([lease])
    report = api.StepReport(lease_token=ref.lease_token, execution_id=ref.execution_id)
    [told] = ledger.note(api.WorkRequest(steps=api.ReportStepsRequest(reports=[report])), 1.0)
    assert (told.kind, ledger.running, ledger.reports) == ("steps", {ref.lease_token}, [])
    assert ledger.steps_of(ref.lease_token) == [told]

    end = api.Suspension(lease_token=ref.lease_token, execution_id=ref.execution_id)
    [told] = ledger.note(api.WorkRequest(suspend=api.SuspendRequest(suspensions=[end])), 2.0)
    assert (told.kind, ledger.running) == ("suspend", set())
    assert ledger.reports_of(ref.lease_token) == [told]


def test_a_report_with_a_known_number_counts_once() -> None:
    ledger = Ledger()
    for sequence, name in ((1, "a"), (1, "a"), (2, "b"), (0, "c"), (0, "c")):
        ledger.note(steps_report(sequence, name), 1.0)

    assert [step.name for step in begun(ledger.steps)] == ["a", "b", "c", "c"]


def steps_report(sequence: int, name: str) -> api.WorkRequest:
    started = api.StepAction(started=api.NewStep(step_id=f"step_{name}", name=name))
    report = api.StepReport(lease_token=LEASE, actions=[started], sequence=sequence)
    return api.WorkRequest(steps=api.ReportStepsRequest(reports=[report]))


def test_the_next_lease_carries_the_steps_of_the_last() -> None:
    ledger = Ledger()
    ledger.note(steps_report(1, "a"), 1.0)
    ledger.note(steps_report(2, "b"), 2.0)
    ended = api.StepAction(completed=api.StepCompleted(step_id="step_a", output="1"))
    report = api.StepReport(lease_token=LEASE, actions=[ended], sequence=3)
    ledger.note(api.WorkRequest(steps=api.ReportStepsRequest(reports=[report])), 3.0)
    wait = api.WaitPoint(step_id="step_w", name="w", step_key="k")
    end = api.Suspension(lease_token=LEASE, waits=[wait])
    ledger.note(api.WorkRequest(suspend=api.SuspendRequest(suspensions=[end])), 4.0)
    steps = recorded(ledger, LEASE)

    told = [(step.name, step.state, step.error.code, step.output) for step in steps]
    assert told == [
        ("a", records.STEP_STATE_COMPLETED, "", "1"),
        ("b", records.STEP_STATE_FAILED, "ATTEMPT_ENDED", ""),
        ("w", records.STEP_STATE_RUNNING, "", ""),
    ]
    assert steps[2].key == "k"


@pytest.mark.parametrize(
    ("step_id", "said"),
    [
        ("step_short", "is no step id"),
        ("step_" + 27 * "z", "is no step id"),
        ("step_" + 27 * "0", "was used before"),
    ],
)
def test_a_step_id_has_to_be_new_and_to_hold_20_bytes(step_id: str, said: str) -> None:
    known = {"step_" + 27 * "0"}
    demand_new("step_aWgEPTl1tmebfsQzFP4bxwgy80V", known)

    with pytest.raises(BrokenRuleError, match=said):
        demand_new(step_id, known)


def test_a_transcript_keeps_its_end() -> None:
    transcript = Transcript()
    for number in range(LINES_MAX + 1):
        transcript.note(str(number))

    lines = transcript.lines()
    assert len(lines) == LINES_MAX
    assert re.fullmatch(r" +\d+ ms  30", lines[-1])


def test_a_message_is_one_short_line_whatever_it_holds() -> None:
    lease = make_lease(ECHO, "line\nbreak" * 100, token="\x1b[31m")  # noqa: S106  # a lease's
    shown = describe(api.WorkResponse(leases=api.WorkLeases(leases=[lease])))

    assert shown.isprintable()
    assert len(shown) < LINE_MAX + 30


# Programs and verdicts.


def test_a_program_tells_its_end_and_its_last_words() -> None:
    ended = threading.Event()
    source = "import os, sys; print(os.environ['GREETING'], file=sys.stderr); sys.exit(3)"
    program = Program((sys.executable, "-c", source), {"GREETING": "hello"}, ended.set)

    assert program.wait(PATIENCE_S) == 3
    assert ended.wait(PATIENCE_S)
    program.close()
    assert program.stderr() == ["hello"]


def test_a_program_is_killed_with_what_it_started() -> None:
    source = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "child.wait()"
    )
    program = Program((sys.executable, "-c", source), {}, bool)
    program.close()

    assert program.status == -9


def test_a_command_that_cannot_be_run_says_why() -> None:
    with pytest.raises(CannotStartError, match=r"^cannot run /nowhere: No such file or directory$"):
        Program(("/nowhere",), {}, bool)


def test_every_rule_has_its_name_its_section_and_its_sentence() -> None:
    names = [rule.name for rule in RULES]

    assert sorted(set(names)) == sorted(names)
    for each in RULES:
        assert re.fullmatch(r"[a-z0-9-]{4,60}", each.name)
        assert re.match(r"§\d+", each.section)
        assert re.fullmatch(r"[A-Z].{20,160}\.", each.sentence)


def test_a_program_that_never_connects_is_tried_once() -> None:
    verdicts = list(check_rules(RULES, ENDS_AT_ONCE, PATIENCE_S))

    assert [(verdict.is_kept, verdict.has_connected) for verdict in verdicts] == [(False, False)]
    assert verdicts[0].explanation == NEVER_CONNECTED


def test_a_program_that_hangs_is_told_from_one_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "START_S", 0.1)
    sleeper = (sys.executable, "-c", "import time; time.sleep(60)")
    [verdict] = check_rules(RULES[:1], sleeper, 0.1)

    assert verdict.explanation == (
        "the program did not open a Work stream to BACKLANE_TARGET within 0.1 s"
    )


def test_verdicts_come_in_the_order_of_the_rules() -> None:
    last_is_checked = threading.Event()

    @rule("§1")
    def first(_: Stage) -> None:
        """Comes first."""

    @rule("§2")
    def slow(_: Stage) -> None:
        """Waits for the last."""
        demand(last_is_checked.wait(PATIENCE_S), "rules are checked one after the other")

    @rule("§3")
    def last(_: Stage) -> None:
        """Is broken, and done before the slow one."""
        last_is_checked.set()
        demand(False, "it is broken")  # noqa: FBT003  # the thing to show

    verdicts = list(check_rules([first, slow, last], ENDS_AT_ONCE))

    told = [(verdict.rule.name, verdict.explanation) for verdict in verdicts]
    assert told == [("first", ""), ("slow", ""), ("last", "it is broken")]


def test_a_run_that_ends_early_kills_its_programs_at_once() -> None:
    runs = threading.Event()
    ends: list[str] = []

    @rule("§1")
    def first(_: Stage) -> None:
        """Comes first, alone."""

    @rule("§2")
    def second(_: Stage) -> None:
        """Is kept once the last one runs."""
        demand(runs.wait(PATIENCE_S), "rules are checked one after the other")

    @rule("§3")
    def last(stage: Stage) -> None:
        """Waits for a stream that does not come."""
        stage.start()
        runs.set()
        try:
            stage.accept()
        except BrokenRuleError as error:
            ends.append(str(error))

    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
    verdicts = check_rules([first, second, last], sleeper)
    assert isinstance(verdicts, Generator)
    assert [next(verdicts).rule.name, next(verdicts).rule.name] == ["first", "second"]
    verdicts.close()

    assert ends == ["the program ended with -9 and did not open a Work stream to BACKLANE_TARGET"]


# The command.


def test_the_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "worker", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert [line.split()[0] for line in lines] == ["RULE", *(each.name for each in RULES)]


def test_the_rules_are_listed_for_people_with_whole_sentences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert run(["conformance", "worker", "--list", "--rule", "hello-is-valid"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "hello-is-valid  §2, §6 hello",
        "    The hello has a valid worker id, tenants, callables and",
        "    lease period.",
    ]


def test_the_names_of_rules_are_completed(capsys: pytest.CaptureFixture[str]) -> None:
    line = "backlane conformance worker --rule hello-"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_BACKLANE_COMPLETE", "complete_bash")
        patch.setenv("COMP_WORDS", line)
        patch.setenv("COMP_CWORD", "4")
        with pytest.raises(SystemExit):
            run([])

    assert capsys.readouterr().out.split() == ["hello-comes-first", "hello-is-valid"]


def test_the_rules_are_listed_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "worker", "--list", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert [each["rule"] for each in listed] == [each.name for each in RULES]


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (
            [],
            2,
            "name the program after --, as in `backlane conformance worker -- python worker.py`",
        ),
        (["--rule", "tidiness"], 2, "there is no rule tidiness: see --list"),
        (["--", "/nowhere"], 2, "cannot run /nowhere: No such file or directory"),
        (
            ["--", *ENDS_AT_ONCE],
            1,
            f"{NEVER_CONNECTED}; its last line: no \\x1b[31mluck",
        ),
    ],
)
def test_trouble_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, line: str
) -> None:
    assert run(["conformance", "worker", *arguments]) == status
    assert tuple(capsys.readouterr()) == ("", f"backlane: {line}\n")
