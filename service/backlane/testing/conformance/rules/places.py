"""Owns the rules about which recorded step is which, and whose output may be used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import STEPS
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings
from backlane.testing.conformance.steps import (
    begun,
    demand_completed,
    document,
    end_attempt,
    outputs_of,
    recorded,
    run_anew,
    store,
    stored_outputs,
    version,
)

if TYPE_CHECKING:
    from backlane.testing.conformance.session import Session
    from backlane.testing.conformance.stage import Stage
    from backlane.v1 import execution_pb2 as records
    from backlane.v1 import worker_service_pb2 as api


@rule("§7.14", Settings(concurrency=1), STEPS)
def a_failed_step_keeps_its_place(stage: Stage) -> None:
    """A failed step counts among those of its name, and the step that runs again names it."""
    session = stage.connect()
    first, (failed, other) = _two_of_a_name(stage, session)
    second = stage.steps(session, document("a", "a", "a"), first, [failed, other])
    outputs = outputs_of(session.report(second))
    new = begun(session.ledger.steps_of(second.lease_token))
    demand(
        len(new) == 2 and outputs[1:2] == stored_outputs([other]),  # noqa: PLR2004  # of three
        f"the first a had failed and the second had completed; of three {len(new)} were begun, and "
        f"the second gave {json.dumps(outputs[1:2])}",
    )
    named = [each.source.triggered_by for each in new]
    demand(
        named == [failed.id, ""],
        f"the first of two new steps runs {failed.id} again, and they name {named}",
    )


@rule("§7.14", Settings(concurrency=1), STEPS)
def a_step_that_was_run_again_stands_in_its_place(stage: Stage) -> None:
    """A completed step that names a failed one counts as that one, and not as one more."""
    session = stage.connect()
    first, (failed, other) = _two_of_a_name(stage, session)
    again = run_anew(other, failed)
    second = stage.steps(session, document("a", "a", "a"), first, [failed, other, again])
    outputs = outputs_of(session.report(second))
    stored = stored_outputs([again, other])
    demand(
        outputs[:2] == stored,
        f"a had failed, another a completed, and the first one was run again: the outputs are "
        f"{json.dumps(stored)}, and those used {json.dumps(outputs[:2])}",
    )
    count = len(begun(session.ledger.steps_of(second.lease_token)))
    demand(count == 1, f"two of three steps had completed, and {count} were begun")


@rule("§7.10", Settings(concurrency=1), STEPS)
def steps_of_another_version_are_not_used(stage: Stage) -> None:
    """An output that another version of the callable recorded is never used."""
    session = stage.connect()
    first, step = _one(stage, session)
    second = stage.make_steps(document("a"), first, [step])
    second.schema_version = version(session.ledger, first.lease_token) + "-other"
    session.lease(second)
    _demand_unused(session, second, step, "of another version")


@rule("§7.10", Settings(concurrency=1), STEPS)
def a_step_with_other_arguments_is_not_used(stage: Stage) -> None:
    """An output is never used if arguments with another hash were recorded for it."""
    session = stage.connect()
    first, step = _one(stage, session)
    step.arguments_hash = b"other arguments."
    second = stage.steps(session, document("a"), first, [step])
    _demand_unused(session, second, step, "with other arguments")


def _one(stage: Stage, session: Session) -> tuple[api.Lease, records.Step]:
    """Have one step recorded, and return its lease and the step."""
    first = stage.steps(session, document("a"))
    session.report(first)
    steps = recorded(session.ledger, first.lease_token)
    demand_completed(steps, "a")
    return first, store(steps[0])


def _two_of_a_name(
    stage: Stage, session: Session
) -> tuple[api.Lease, tuple[records.Step, records.Step]]:
    """Have two steps of a name recorded, and return their lease and them; the first has failed."""
    first = stage.steps(session, document("a", "a"))
    session.report(first)
    steps = recorded(session.ledger, first.lease_token)
    demand_completed(steps, "a", "a")
    end_attempt(steps[0])
    return first, (steps[0], store(steps[1]))


def _demand_unused(session: Session, lease: api.Lease, step: records.Step, what: str) -> None:
    """Demand that a lease ends without the output of a step; that it fails is right."""
    report = session.report(lease)
    is_failed = report.kind in {"fail", "release"}
    demand(
        is_failed or stored_outputs([step]) != outputs_of(report),
        f"the output of a step {what} was used",
    )


RULES = (
    a_failed_step_keeps_its_place,
    a_step_that_was_run_again_stands_in_its_place,
    steps_of_another_version_are_not_used,
    a_step_with_other_arguments_is_not_used,
)
