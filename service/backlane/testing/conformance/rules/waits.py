"""Owns the rules about executions that wait without a worker, and about pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import STEPS, refs
from backlane.testing.conformance.refusals import broken_connection, refusal
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings
from backlane.testing.conformance.steps import (
    KEY,
    begun,
    completes,
    demand_new,
    document,
    end_wait,
    recorded,
    result_of,
    waits_of,
)

if TYPE_CHECKING:
    from backlane.testing.conformance.ledger import Ledger, Report
    from backlane.testing.conformance.session import Session
    from backlane.testing.conformance.stage import Stage
    from backlane.v1 import worker_service_pb2 as api

GRACE_S: Final = 5.0
"""How long the leases of a broken stream wait for their worker, in seconds."""
INPUT: Final = {"approved": True, "by": "ü"}


@rule("§7.18", Settings(concurrency=1), STEPS)
def a_wait_suspends(stage: Stage) -> None:
    """A wait ends the lease with a suspension that names it, after which the slot is free."""
    session = stage.connect()
    lease = stage.steps(session, document("a", waits=True))
    [wait] = _suspended(session, lease)
    known = {step.step_id for step in begun(session.ledger.steps_of(lease.lease_token))}
    demand_new(wait.step_id, known)
    demand(wait.key == KEY, f"the key of the wait is {wait.key!r}, not {KEY!r}")
    demand(wait.name, "the wait has no name")
    # It needs the only slot, and comes after whatever is said of the lease.
    stage.echo(session)
    _demand_last(session, lease)


@rule("§7.6, §7.20", Settings(concurrency=1), STEPS)
def a_suspended_lease_is_forgotten(stage: Stage) -> None:
    """A suspension is repeated until its outcome. Then the worker says nothing of the lease."""
    first = stage.connect()
    first.withhold(lambda report: report.kind == "suspend")
    lease = stage.steps(first, document("a", waits=True))
    [wait] = _suspended(first, lease)
    first.end(broken_connection())
    second = stage.connect(within_s=GRACE_S)
    demand(refs([lease])[0] in second.hello().held, "a lease with an unanswered end is not held")
    [again] = _suspended(second, lease)
    demand(again == wait, "a suspension without an outcome was sent again with another wait")
    stage.echo(second)
    second.end(broken_connection())
    third = stage.connect(within_s=GRACE_S)
    demand(not third.hello().held, "a lease is still held after its suspension was answered")
    stage.echo(third)
    demand(not _said(third.ledger, lease), "a suspended lease was reported again")


@rule("§7.7, §7.18", Settings(concurrency=1), STEPS)
def a_refused_suspension_is_not_ignored(stage: Stage) -> None:
    """After a refused suspension the worker reports a failure of the same lease, or releases it."""
    session = stage.connect()
    lease = stage.make_steps(document(waits=True))
    session.refuse(lease, refusal("INVALID_ARGUMENT"))
    session.lease(lease)
    _suspended(session, lease)
    second = session.report(lease, nth=2, otherwise="nothing followed a refused suspension")
    demand(
        second.kind in {"fail", "release"}, f"{second.kind} followed a suspension that was refused"
    )
    stage.echo(session)


@rule("§7.19", Settings(concurrency=1), STEPS)
def an_open_wait_goes_on(stage: Stage) -> None:
    """A wait that is still open when the execution is leased again is waited for under its id."""
    session = stage.connect()
    first = stage.steps(session, document("a", waits=True))
    [wait] = _suspended(session, first)
    steps = recorded(session.ledger, first.lease_token)
    second = stage.steps(session, document("a", waits=True), first, steps)
    ids = [each.step_id for each in _suspended(session, second)]
    demand(ids == [wait.step_id], f"the open wait is {wait.step_id}, and {ids} were waited for")
    demand(
        not begun(session.ledger.steps_of(second.lease_token)),
        "a step was begun although it had completed, or although it is a wait",
    )


@rule("§7.19", Settings(concurrency=1), STEPS)
def a_wait_that_is_over_gives_its_input(stage: Stage) -> None:
    """A completed wait of the lease gives its input to the callable, without a suspension."""
    session = stage.connect()
    first = stage.steps(session, document("a", waits=True))
    [wait] = _suspended(session, first)
    steps = recorded(session.ledger, first.lease_token)
    end_wait(next(step for step in steps if step.id == wait.step_id), INPUT)
    second = stage.steps(session, document("a", waits=True), first, steps)
    given = result_of(session.report(second)).get("input")
    demand(given == INPUT, f"the input was {INPUT}, and the callable got {given}")


@rule("§6 pauses, §7.21", Settings(concurrency=1), STEPS)
def a_pause_is_yielded_to(stage: Stage) -> None:
    """After `pauses` the worker begins no further step: it suspends without waits, or releases."""
    session = stage.connect()
    session.withhold(completes)
    lease = stage.steps(session, document("a", "b", "c"))
    session.wait(lambda ledger: _has_ended(ledger, lease), "the end of a step was not reported")
    session.pause(lease)
    session.answer_withheld()
    _demand_yield(session.report(lease))
    count = len(begun(session.ledger.steps_of(lease.lease_token)))
    demand(count == 1, f"a pause was requested in the first step, and {count} were begun")
    stage.echo(session)


@rule("§7.21", Settings(concurrency=1), STEPS)
def a_lease_that_comes_paused_is_yielded(stage: Stage) -> None:
    """A lease that arrives with pause_requested is treated like one that is paused later."""
    session = stage.connect()
    lease = stage.make_steps(document("a", "b", "c"))
    lease.pause_requested = True
    session.lease(lease)
    _demand_yield(session.report(lease))
    stage.echo(session)


def _suspended(session: Session, lease: api.Lease) -> list[api.WaitPoint]:
    """Wait for the suspension of a lease, which has to have one wait."""
    waits = waits_of(session.report(lease, otherwise="an execution that waits was not suspended"))
    demand(len(waits) == 1, f"an execution with one wait was suspended with {len(waits)}")
    return waits


def _said(ledger: Ledger, lease: api.Lease) -> list[Report]:
    token = lease.lease_token
    said = [*ledger.steps_of(token), *ledger.reports_of(token)]
    return sorted(said, key=lambda report: report.message)


def _demand_last(session: Session, lease: api.Lease) -> None:
    """Demand that nothing was said of a lease after its suspension."""
    kinds = [report.kind for report in _said(session.ledger, lease)]
    demand(
        kinds.index("suspend") == len(kinds) - 1,
        f"a suspended lease was reported again: {', '.join(kinds)}",
    )


def _has_ended(ledger: Ledger, lease: api.Lease) -> bool:
    return any(step.HasField("output") for step in recorded(ledger, lease.lease_token))


def _demand_yield(report: Report) -> None:
    demand(
        report.kind in {"suspend", "release"},
        f"a pause was requested, and the execution was reported by {report.kind}",
    )
    if report.kind == "suspend":
        count = len(waits_of(report))
        demand(not count, f"a suspension that yields to a pause has {count} waits")


RULES = (
    a_wait_suspends,
    a_suspended_lease_is_forgotten,
    a_refused_suspension_is_not_ignored,
    an_open_wait_goes_on,
    a_wait_that_is_over_gives_its_input,
    a_pause_is_yielded_to,
    a_lease_that_comes_paused_is_yielded,
)
