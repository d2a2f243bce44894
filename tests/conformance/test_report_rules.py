"""Every rule of a worker's reports: one outcome per item, and no effect on other items."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from google.protobuf.struct_pb2 import Value

from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import KIB, MIB, UNKNOWN_ID, Door, nested, put, ref, text_of
from tests.conformance.refusals import assert_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

BAD_IDS = ("", "x", UNKNOWN_ID + "x", UNKNOWN_ID.replace("exec_", "step_"))
BAD_TOKENS = ("", "x", "lt_", "lt_0_0", "lt_1_99999999", "lt_-1_1", "\x00", "x" * 4096)
DAY_MS = 86_400_000


class Rule(NamedTuple):
    """A call, a field of its second item, a value that breaks its rule, and the answer."""

    call: str
    field: str
    value: object
    reason: str = "INVALID_ARGUMENT"
    named: str = ""

    def __str__(self) -> str:
        return f"{self.call}.{self.field}={str(self.value)[:24]!r}"


def error() -> records.ExecutionError:
    return records.ExecutionError(category=records.ERROR_CATEGORY_TOOL_ERROR, message="no")


def complete(lease: work.LeaseRef) -> work.CompleteResult:
    return work.CompleteResult(execution_id=lease.execution_id, lease_token=lease.lease_token)


def fail(lease: work.LeaseRef) -> work.Failure:
    return work.Failure(
        execution_id=lease.execution_id, lease_token=lease.lease_token, error=error()
    )


def progress(lease: work.LeaseRef) -> work.ProgressReport:
    return work.ProgressReport(
        execution_id=lease.execution_id, lease_token=lease.lease_token, fraction=0.5
    )


STEP_IDS = ("step_id", "parent_step_id")
STEP = "step_0000000000000000000000000a1"


def steps(lease: work.LeaseRef) -> work.StepReport:
    started = work.StepAction(started=work.NewStep(step_id=STEP, name="fetch"))
    return work.StepReport(
        execution_id=lease.execution_id, lease_token=lease.lease_token, actions=[started]
    )


def suspend(lease: work.LeaseRef) -> work.Suspension:
    wait = work.WaitPoint(step_id=STEP, name="approval", key="k")
    return work.Suspension(
        execution_id=lease.execution_id, lease_token=lease.lease_token, waits=[wait]
    )


class Call(NamedTuple):
    """How a call is made: its request, the list in it, and an item of the list."""

    request: Callable[..., Message]
    items: str
    item: Callable[[work.LeaseRef], Message]


CALLS: Mapping[str, Call] = {
    "RenewLeases": Call(work.RenewLeasesRequest, "leases", lambda lease: lease),
    "Complete": Call(work.CompleteRequest, "results", complete),
    "Fail": Call(work.FailRequest, "failures", fail),
    "Release": Call(work.ReleaseRequest, "releases", lambda lease: lease),
    "ReportProgress": Call(work.ReportProgressRequest, "reports", progress),
    "ReportSteps": Call(work.ReportStepsRequest, "reports", steps),
    "Suspend": Call(work.SuspendRequest, "suspensions", suspend),
}
RULES = [
    *(Rule(call, "execution_id", name) for call in CALLS for name in BAD_IDS),
    *(Rule("Complete", "output", nested(depth)) for depth in (25, 28)),
    *(
        Rule("Complete", "output", Value(number_value=float(number)))
        for number in ("nan", "inf", "-inf")
    ),
    Rule("Complete", "output", Value()),
    Rule("Complete", "output", text_of(MIB + 1), "TOO_LARGE"),
    Rule("Fail", "error", None),
    *(Rule("Fail", "error.category", number) for number in (0, 9, -1)),
    Rule("Fail", "error.retry_policy.backoff_strategy", 4),
    *(Rule("Fail", f"error.{name}", "x" * 257, "TOO_LARGE") for name in ("code", "provider")),
    Rule("Fail", "error.step_id", "x" * 257, "TOO_LARGE"),
    Rule("Fail", "error.details", nested(25)),
    Rule("Fail", "error.details", Value()),
    Rule("Fail", "error.details", Value(number_value=float("nan"))),
    Rule("Fail", "error.details", text_of(64 * KIB + 1), "TOO_LARGE"),
    *(Rule("Fail", "retry_after_ms", ms) for ms in (DAY_MS + 1, 2**64 - 1)),
    Rule("Fail", "throttled", value=True, named="retry_after_ms"),
    *(
        Rule("ReportProgress", "fraction", float(number))
        for number in ("-0.001", "1.001", "nan", "inf", "-inf")
    ),
    Rule("ReportProgress", "message", "x" * (KIB + 1), "TOO_LARGE"),
    Rule("ReportSteps", "actions", []),
    Rule("ReportSteps", "schema_version", "x" * 129),
    *(Rule("ReportSteps", f"actions[0].started.{name}", "x") for name in STEP_IDS),
    *(Rule("ReportSteps", "actions[0].started.name", name) for name in ("", "x" * 129)),
    Rule("ReportSteps", "actions[0].started.step_type", 7),
    Rule("ReportSteps", "actions[0].started.source.source_type", 6),
    Rule("ReportSteps", "actions[0].started.key", "x" * 129),
    Rule("ReportSteps", "actions[0].started.arguments_hash", b"x" * 33, "TOO_LARGE"),
    Rule("ReportSteps", "actions[0].started.input", "x" * (MIB + 1), "TOO_LARGE"),
    Rule("ReportSteps", "actions[0].completed.step_id", "x"),
    Rule("ReportSteps", "actions[0].completed.step_id", STEP),
    Rule("Suspend", "waits", []),
    Rule("Suspend", "waits[0].step_id", "x"),
    *(Rule("Suspend", "waits[0].name", name) for name in ("", "x" * 129)),
    Rule("Suspend", "waits[0].reason", 9),
    *(Rule("Suspend", f"waits[0].{name}", "x" * 129) for name in ("key", "step_key")),
    Rule("Suspend", "waits[0].wait_ms", 36_500 * DAY_MS + 1),
    Rule("Suspend", "waits[0].child_execution_id", UNKNOWN_ID),
]


def report(door: Door, call: str, *items: Message) -> list[work.LeaseOutcome]:
    """Make a call of that name about those items."""
    way = CALLS[call]
    request = way.request(**{way.items: items})
    return list(door.call(call, request).outcomes)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_broken_rule_is_named_and_spoils_no_other_item(door: Door, rule: Rule) -> None:
    for _ in range(2):
        door.enqueue()
    good, bad = door.lease(2)
    way = CALLS[rule.call]
    before = door.get(bad.execution.execution_id)
    item = way.item(ref(bad))
    put(item, rule.field, rule.value)
    first, second = report(door, rule.call, way.item(ref(good)), item)

    assert first.result.execution_id == good.execution.execution_id
    field = f"{way.items}[1].{rule.named or rule.field}"
    assert_refusal(second.status, rule.reason, field)
    assert door.get(bad.execution.execution_id) == before
    assert door.complete(bad).HasField("result")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("token", BAD_TOKENS)
def test_a_token_that_no_server_wrote_is_lost(door: Door, call: str, token: str) -> None:
    lease = door.enqueue_and_lease()
    before = door.everything()
    item = CALLS[call].item(
        work.LeaseRef(execution_id=lease.execution.execution_id, lease_token=token)
    )
    [outcome] = report(door, call, item)

    assert_refusal(outcome.status, "LEASE_LOST")
    assert door.everything() == before


@pytest.mark.parametrize("call", CALLS)
def test_a_token_of_another_lease_is_lost(door: Door, call: str) -> None:
    for _ in range(2):
        door.enqueue()
    mine, other = door.lease(2)
    before = door.everything()
    item = CALLS[call].item(
        work.LeaseRef(execution_id=mine.execution.execution_id, lease_token=other.lease_token)
    )
    [outcome] = report(door, call, item)

    assert_refusal(outcome.status, "LEASE_LOST")
    assert door.everything() == before


@pytest.mark.parametrize("call", CALLS)
def test_an_execution_that_is_not_there_has_no_lease(door: Door, call: str) -> None:
    lease = work.LeaseRef(execution_id=UNKNOWN_ID, lease_token="lt_1_1")  # noqa: S106
    [outcome] = report(door, call, CALLS[call].item(lease))

    [detail] = [detail for detail in outcome.status.details if "ErrorInfo" in detail.type_url]
    assert b"LEASE_LOST" in detail.value or b"EXECUTION_NOT_FOUND" in detail.value


@pytest.mark.parametrize("call", CALLS)
def test_the_stale_token_of_an_earlier_attempt_changes_nothing(door: Door, call: str) -> None:
    stale = door.enqueue_and_lease()
    [released] = report(door, "Release", ref(stale))
    assert released.result.status == records.BACKGROUND_EXECUTION_STATUS_QUEUED
    [fresh] = door.lease(worker="w2")
    assert fresh.lease_token != stale.lease_token
    before = door.everything()
    [outcome] = report(door, call, CALLS[call].item(ref(stale)))

    if call == "Release":
        # It repeats its own outcome, and changes nothing all the same.
        assert outcome.HasField("result")
    else:
        assert_refusal(outcome.status, "LEASE_LOST")
    assert door.everything() == before


def ended(door: Door, lease: work.Lease) -> records.ExecutionError:
    return door.get(lease.execution.execution_id).error


def failed(door: Door, **fields: object) -> records.ExecutionError:
    """The error on the record of an execution that failed with those fields."""
    lease = door.enqueue_and_lease()
    item = fail(ref(lease))
    for name, value in fields.items():
        put(item, f"error.{name}", value)
    [outcome] = report(door, "Fail", item)
    assert outcome.result.status == records.BACKGROUND_EXECUTION_STATUS_FAILED
    return ended(door, lease)


def test_an_error_is_shown_as_it_was_reported(door: Door) -> None:
    policy = records.RetryPolicy(retryable=True, max_retries=3, base_delay_ms=5)
    fields: dict[str, object] = {
        "retry_policy": policy,
        "code": "c" * 256,
        "step_id": "step",
        "provider": "p",
        "http_status": 503,
        "details": text_of(64 * KIB),
        "attempt": 77,
        "occurred_at_ms": 1,
    }
    shown = failed(door, **fields)

    # The server's own, whatever the worker said.
    assert shown.attempt == 1
    assert shown.occurred_at_ms > 1_000_000
    expected = error()
    for name, value in (fields | {"attempt": 1, "occurred_at_ms": shown.occurred_at_ms}).items():
        put(expected, name, value)
    assert shown == expected


def test_details_may_be_24_levels_deep(door: Door) -> None:
    assert failed(door, details=nested(24)).details == nested(24)


def test_a_message_of_8_kib_is_kept_whole(door: Door) -> None:
    assert failed(door, message="ä" * 4096).message == "ä" * 4096


@pytest.mark.parametrize("message", ["x" * (8 * KIB + 1), "x" + "😀" * 100_000])
def test_a_longer_message_is_cut_between_characters_with_a_mark(door: Door, message: str) -> None:
    kept = failed(door, message=message).message

    assert 8 * KIB - 12 <= len(kept.encode()) <= 8 * KIB
    assert kept.endswith("…[cut]")
    assert message.startswith(kept.removesuffix("…[cut]"))


def test_a_delay_of_a_day_is_taken(door: Door) -> None:
    lease = door.enqueue_and_lease()
    item = fail(ref(lease))
    item.retry_after_ms = DAY_MS
    item.throttled = True
    [outcome] = report(door, "Fail", item)
    record = door.get(lease.execution.execution_id)

    assert outcome.result.status == records.BACKGROUND_EXECUTION_STATUS_QUEUED
    waits_ms = record.next_attempt_at.ToMilliseconds() - record.updated_at.ToMilliseconds()
    assert waits_ms == DAY_MS
