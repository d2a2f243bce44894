"""Every rule of a spawn and of a wait for a child: a typed error, and nothing changed."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import KIB, UNKNOWN_ID, Door, nested, new_tenant, put, ref
from tests.conformance.refusals import assert_refusal, refused

STEP = "step_0000000000000000000000000a1"
OTHER_STEP = "step_0000000000000000000000000a2"


class Rule(NamedTuple):
    """A field of the request, a value that breaks its rule, and the answer."""

    field: str
    value: object
    reason: str = "INVALID_ARGUMENT"
    named: str = ""

    def __str__(self) -> str:
        return f"{self.field}={str(self.value)[:24]!r}"


RULES = [
    Rule("enqueue", None),
    Rule("enqueue.callable_name", "a b"),
    Rule("enqueue.config.priority", 256),
    Rule("enqueue.depends_on_items", [0]),
    Rule("enqueue.parent.parent_id", "msg_1", named="enqueue.parent"),
    Rule("mode", None),
    Rule("mode.child.policies", {"a": nested(25)}),
    Rule("mode.child.policies", {"a": nested(1), "x" * (64 * KIB): nested(1)}, "TOO_LARGE"),
    Rule("parent_execution_id", "x"),
    Rule("lease_token", ""),
    Rule("cancellation_policy", 4),
    Rule("step.step_id", "x"),
    Rule("step.parent_step_id", "x"),
    *(Rule("step.name", name) for name in ("", "x" * 129)),
    Rule("step.step_type", 7),
    Rule("step.key", "x" * 129),
    Rule("step.arguments_hash", b"x" * 33, "TOO_LARGE"),
    Rule("schema_version", "x" * 129),
]


def spawning(
    door: Door,
    parent: work.LeaseRef,
    **fields: Any,  # noqa: ANN401  # those of the message
) -> api.SpawnRequest:
    step = work.NewStep(step_id=STEP, name="spawn")
    given: dict[str, Any] = {"enqueue": door.new(), "step": step} | fields
    return api.SpawnRequest(
        mode=api.SpawnMode(child=api.SpawnChild(background=True)),
        parent_execution_id=parent.execution_id,
        lease_token=parent.lease_token,
        **given,
    )


def run_of(door: Door, execution_id: str) -> records.Execution:
    request = api.GetExecutionRunRequest(tenant_id=door.tenant, execution_id=execution_id)
    response: api.GetExecutionRunResponse = door.call("GetExecutionRun", request)
    return response.execution


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_broken_rule_is_named_and_spawns_nothing(door: Door, rule: Rule) -> None:
    parent = ref(door.enqueue_and_lease())
    request = spawning(door, parent)
    put(request, rule.field, rule.value)
    before = door.everything()

    status = refused(lambda: door.call("Spawn", request))
    assert_refusal(status, rule.reason, rule.named or rule.field)
    assert door.everything() == before
    assert not run_of(door, parent.execution_id).steps
    request = spawning(door, parent)
    assert door.call("Spawn", request).execution.parent.parent_id == parent.execution_id


def test_a_parent_that_has_ended_or_that_nobody_knows_spawns_nothing(door: Door) -> None:
    lease = door.enqueue_and_lease()
    door.complete(lease)
    before = door.everything()
    status = refused(lambda: door.call("Spawn", spawning(door, ref(lease))))
    assert_refusal(status, "LEASE_LOST")
    unknown = work.LeaseRef(execution_id=UNKNOWN_ID, lease_token=lease.lease_token)
    status = refused(lambda: door.call("Spawn", spawning(door, unknown)))
    assert_refusal(status, "EXECUTION_NOT_FOUND")
    assert door.everything() == before


def test_a_parent_that_is_asked_to_stop_spawns_nothing(door: Door) -> None:
    parent = ref(door.enqueue_and_lease())
    request = api.CancelRequest(tenant_id=door.tenant, execution_id=parent.execution_id)
    door.call("Cancel", request)
    before = door.everything()
    status = refused(lambda: door.call("Spawn", spawning(door, parent)))
    assert_refusal(status, "TRANSITION_NOT_ALLOWED")
    assert door.everything() == before


def test_a_child_of_another_tenant_is_not_spawned(door: Door) -> None:
    parent = ref(door.enqueue_and_lease())
    other = Door(door.channel, new_tenant())
    status = refused(lambda: door.call("Spawn", spawning(other, parent)))
    assert_refusal(status, "EXECUTION_NOT_FOUND")
    assert other.stats().ready == 0


def test_a_step_spawns_one_child_and_a_request_id_finds_it(door: Door) -> None:
    parent = ref(door.enqueue_and_lease())
    request = spawning(door, parent, enqueue=door.new(request_id="spawn-1"))
    first = door.call("Spawn", request)
    again = door.call("Spawn", request)
    assert (first.existing, again.existing) == (False, True)
    assert first.execution.execution_id == again.execution.execution_id
    status = refused(lambda: door.call("Spawn", spawning(door, parent)))
    assert_refusal(status, "INVALID_ARGUMENT", "step.step_id")
    run = run_of(door, parent.execution_id)
    [step] = run.steps.values()
    assert (step.state, step.child_execution_id) == (
        records.STEP_STATE_COMPLETED,
        first.execution.execution_id,
    )
    assert door.stats().ready == 1


def test_only_a_child_of_the_execution_is_waited_for(door: Door) -> None:
    parent = ref(door.enqueue_and_lease())
    foreign = Door(door.channel, new_tenant()).enqueue().execution_id
    for wrong in (door.enqueue().execution_id, parent.execution_id, foreign, UNKNOWN_ID, "x"):
        wait = work.WaitPoint(step_id=OTHER_STEP, name="child", child_execution_id=wrong)
        suspension = work.Suspension(
            execution_id=parent.execution_id, lease_token=parent.lease_token, waits=[wait]
        )
        request = work.SuspendRequest(suspensions=[suspension])
        [outcome] = door.call("Suspend", request).outcomes
        field = "suspensions[0].waits[0].child_execution_id"
        assert_refusal(outcome.status, "INVALID_ARGUMENT", field)
    assert not run_of(door, parent.execution_id).steps
