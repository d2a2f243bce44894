"""Owns the rules about durable steps: what is recorded, when, and what is not run again."""

from __future__ import annotations

import itertools
import json
from functools import partial
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import STEPS, refs
from backlane.testing.conformance.refusals import broken_connection, refusal
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings
from backlane.testing.conformance.steps import (
    begun,
    completes,
    demand_completed,
    demand_new,
    document,
    end_attempt,
    outputs_of,
    recorded,
)
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from backlane.testing.conformance.ledger import Ledger
    from backlane.testing.conformance.session import Session
    from backlane.testing.conformance.stage import Stage

WATCH_S: Final = 0.7
"""How long a worker is watched that should wait for an outcome, in seconds."""
GRACE_S: Final = 5.0
"""How long the leases of a broken stream wait for their worker, in seconds."""
RETRY_AFTER_S: Final = 0.5


@rule("§7.14", Settings(concurrency=1), STEPS)
def a_completed_step_is_not_run_again(stage: Stage) -> None:
    """A completed step of the lease gives its stored output, by its name and its occurrence."""
    session = stage.connect()
    first = stage.steps(session, document("a", "b", "a"))
    session.report(first)
    steps = recorded(session.ledger, first.lease_token)
    demand_completed(steps, "a", "b", "a")
    # Not what the worker may remember, and without the last one.
    stored = [{"name": step.name, "nonce": f"stored {step.id}"} for step in steps[:2]]
    for step, output in zip(steps, stored, strict=False):
        step.output = json.dumps(output)
    second = stage.steps(session, document("a", "b", "a"), first, steps[:2])
    outputs = outputs_of(session.report(second))
    demand(
        outputs[:2] == stored,
        f"the stored outputs are {json.dumps(stored)}, and those used {json.dumps(outputs[:2])}",
    )
    names = [step.name for step in begun(session.ledger.steps_of(second.lease_token))]
    demand(names == ["a"], f"two of a, b, a had completed, and the worker began {names}")


@rule("§7.15", Settings(concurrency=1), STEPS)
def a_step_is_recorded_before_what_follows(stage: Stage) -> None:
    """The next step, or the result, follows only when the end of a step was reported and taken."""
    session = stage.connect()
    session.withhold(completes)
    lease = stage.steps(session, document("a", "b"))
    token = lease.lease_token
    for ends in (1, 2):
        _wait_for_ends(session, token, ends)
        demand(
            session.passes(WATCH_S, partial(_follows, token, ends)),
            "a step ended, and before its outcome came the next step began, or the execution ended",
        )
        session.withhold(completes)
        session.answer_withheld()
    outputs = outputs_of(session.report(lease))
    told = [json.loads(step.output) for step in recorded(session.ledger, token)]
    demand(outputs == told, "the outputs of the steps are not those that were reported")


@rule("§2, §7.16", Settings(concurrency=1), STEPS)
def step_ids_are_new(stage: Stage) -> None:
    """Each step has a new id, `step_` and 27 base62 digits, in all executions and attempts."""
    session = stage.connect()
    known: set[str] = set()
    names = ("a", "b", "a")
    first = stage.steps(session, document(*names))
    session.report(first)
    stranger = stage.steps(session, document(*names))
    session.report(stranger)
    again = stage.steps(session, document(*names), first)
    session.report(again)
    for lease in (first, stranger, again):
        steps = begun(session.ledger.steps_of(lease.lease_token))
        demand(
            [step.name for step in steps] == list(names),
            f"the steps {', '.join(names)} were reported as {[step.name for step in steps]}",
        )
        for step in steps:
            demand_new(step.step_id, known)


@rule("§7.17", Settings(concurrency=1), STEPS)
def step_reports_are_numbered(stage: Stage) -> None:
    """The reports of a lease's steps have growing numbers, from 1; each lease counts anew."""
    session = stage.connect()
    for _ in range(2):
        lease = stage.steps(session, document("a", "b", "c"))
        session.report(lease)
        numbers = [each.sequence for each in _reports(session, lease)]
        demand(numbers, "an execution with steps completed, and no report of steps came")
        demand(numbers[0] == 1, f"the first report of a lease has the number {numbers[0]}, not 1")
        is_growing = all(later > earlier for earlier, later in itertools.pairwise(numbers))
        demand(is_growing, f"the reports of a lease have the numbers {numbers}, which do not grow")


@rule("§7.6, §7.17", Settings(concurrency=1), STEPS)
def a_step_report_is_kept_until_its_outcome(stage: Stage) -> None:
    """A report of steps without an answer comes again on the next stream, with its number."""
    first = stage.connect()
    first.withhold(completes)
    lease = stage.steps(first, document("a", "b"))
    _wait_for_ends(first, lease.lease_token, 1)
    first.end(broken_connection())
    second = stage.connect(within_s=GRACE_S)
    demand(refs([lease])[0] in second.hello().held, "a lease with unanswered steps is not held")
    report = second.report(lease, otherwise="an execution did not go on over a reconnect")
    said, again = _reports(first, lease), _reports(second, lease)
    demand(again, "a report of steps without an outcome was not sent again")
    demand(
        said[-1] == again[0] or (again[0] in said and said[-1] in again),
        "a report of steps without an outcome was sent again with another number or content",
    )
    demand(
        again[-1].sequence > said[-1].sequence,
        "the reports of a lease after a reconnect have numbers that do not grow",
    )
    ended = next(each.completed for each in said[-1].actions if each.HasField("completed"))
    demand(
        outputs_of(report)[:1] == [json.loads(ended.output)],
        "a step was run again because its report had no outcome",
    )


@rule("§5, §7.17", Settings(concurrency=1), STEPS)
def a_refused_step_report_is_said_again(stage: Stage) -> None:
    """A report of steps refused with RATE_LIMITED is sent again after the time in RetryInfo."""
    session = stage.connect()
    lease = stage.make_steps(document("a"))
    session.refuse(lease, refusal("RATE_LIMITED", RETRY_AFTER_S))
    session.lease(lease)
    session.report(lease, otherwise="an execution did not go on after RATE_LIMITED")
    first, *later = _reports(session, lease)
    # It was not recorded, so that a new number is as good as the old one.
    again = [list(each.actions) for each in later[:1]]
    demand(
        again == [list(first.actions)],
        "a report of steps answered with RATE_LIMITED was not sent again as it was",
    )
    times = [report.at for report in session.ledger.steps_of(lease.lease_token)]
    paused_s = times[1] - times[0]
    demand(
        paused_s >= RETRY_AFTER_S,
        f"a report was sent again after {paused_s:.2f} s, before RetryInfo's {RETRY_AFTER_S:g} s",
    )


@rule("§7.7, §7.17", Settings(concurrency=1), STEPS)
def a_refused_step_is_not_ignored(stage: Stage) -> None:
    """If the end of a step is refused for good, the execution does not complete nevertheless."""
    session = stage.connect()
    session.withhold(completes)
    lease = stage.steps(session, document("a"))
    _wait_for_ends(session, lease.lease_token, 1)
    session.refuse(lease, refusal("TOO_LARGE"))
    session.answer_withheld()
    report = session.report(lease, otherwise="nothing followed a report of steps that was refused")
    demand(
        report.kind in {"fail", "release"},
        f"{report.kind} followed a report of steps that was refused with TOO_LARGE",
    )


@rule("§7.14, §7.16", Settings(concurrency=1), STEPS)
def a_failed_step_is_run_again(stage: Stage) -> None:
    """A step that failed with its attempt is run again, as a new step with a new id."""
    session = stage.connect()
    first = stage.steps(session, document("a", "b"))
    session.report(first)
    steps = recorded(session.ledger, first.lease_token)
    demand_completed(steps, "a", "b")
    end_attempt(steps[1])
    known = {step.id for step in steps}
    second = stage.steps(session, document("a", "b"), first, steps)
    outputs = outputs_of(session.report(second))
    new = begun(session.ledger.steps_of(second.lease_token))
    names = [step.name for step in new]
    demand(names == ["b"], f"a had completed and b had failed, and the worker began {names}")
    demand_new(new[0].step_id, known)
    demand(outputs[0] == json.loads(steps[0].output), "the stored output of a was not used")


def _follows(token: str, ends: int, ledger: Ledger) -> bool:
    """Tell whether something follows the end of that many steps of a lease."""
    return len(begun(ledger.steps_of(token))) > ends or bool(ledger.reports_of(token))


def _wait_for_ends(session: Session, token: str, ends: int) -> None:
    """Wait until that many steps of a lease have ended."""

    def have_ended(ledger: Ledger) -> bool:
        done = [step for step in recorded(ledger, token) if step.HasField("output")]
        return len(done) >= ends

    session.wait(have_ended, f"the end of step number {ends} was not reported")


def _reports(session: Session, lease: api.Lease) -> list[api.StepReport]:
    """Return the reports of the steps of a lease on a stream."""
    items = [report.item for report in session.ledger.steps_of(lease.lease_token)]
    return [item for item in items if isinstance(item, api.StepReport)]


RULES = (
    a_completed_step_is_not_run_again,
    a_step_is_recorded_before_what_follows,
    step_ids_are_new,
    step_reports_are_numbered,
    a_step_report_is_kept_until_its_outcome,
    a_refused_step_report_is_said_again,
    a_refused_step_is_not_ignored,
    a_failed_step_is_run_again,
)
