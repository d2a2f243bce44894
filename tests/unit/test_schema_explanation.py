"""Explanations: a view of each kind of reason, and their words where there is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from backlane.schema import reasons
from backlane.schema.explanation import NOTHING, Explanation, StartEstimate, reason_of
from backlane.schema.records import Actor, Status
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as service
from backlane.v1 import explanation_pb2 as messages

WHEN = datetime(2026, 1, 31, 8, tzinfo=UTC)
STAMP = Timestamp(seconds=int(WHEN.timestamp()))
QUEUED = records.BACKGROUND_EXECUTION_STATUS_QUEUED
RUNNING = records.BACKGROUND_EXECUTION_STATUS_RUNNING
CLIENT = records.Actor(kind=records.ACTOR_KIND_CLIENT, id="alice")
Kind = messages.Reason

SEEN: dict[str, tuple[Kind, reasons.Reason]] = {
    "set_aside": (
        Kind(set_aside=Kind.SetAside(why="odd")),
        reasons.SetAside("", "odd"),
    ),
    "unmet_dependencies": (
        Kind(
            unmet_dependencies=Kind.UnmetDependencies(
                count=2, unmet=[Kind.Related(execution_id="exec_1", status=RUNNING)]
            )
        ),
        reasons.UnmetDependencies("", 2, {"exec_1": Status.RUNNING}),
    ),
    "not_due": (Kind(not_due=Kind.NotDue(until=STAMP)), reasons.NotDue("", WHEN)),
    "backing_off": (
        Kind(backing_off=Kind.BackingOff(until=STAMP)),
        reasons.BackingOff("", WHEN, None),
    ),
    "paused": (
        Kind(paused=Kind.Paused(by=CLIENT, since=STAMP)),
        reasons.Paused("", Actor("client", "alice"), WHEN),
    ),
    "suspended": (
        Kind(suspended=Kind.Suspended(waits=[Kind.Wait(input_key="ok", until=STAMP)])),
        reasons.Suspended("", [reasons.AwaitedEvent("ok", WHEN, None)]),
    ),
    "running": (
        Kind(running=Kind.Running(worker_id="w", attempt=2, since=STAMP, cancel_requested=True)),
        reasons.Running(
            "",
            worker_id="w",
            attempt=2,
            since=WHEN,
            cancel_requested=True,
            pause_requested=False,
            waits_at_worker=False,
        ),
    ),
    "awaits_descendants": (
        Kind(
            awaits_descendants=Kind.AwaitsDescendants(
                status=records.BACKGROUND_EXECUTION_STATUS_FAILED,
                reason=records.END_REASON_FAILED,
                count=1,
                execution_ids=["exec_1"],
            )
        ),
        reasons.AwaitsDescendants(
            "", Status.FAILED, "failed", 1, more=False, execution_ids=["exec_1"]
        ),
    ),
    "tenant_limit": (
        Kind(tenant_limit=Kind.LimitReached(limit=1, running=1, holder_ids=["exec_1"])),
        reasons.TenantLimit("", 1, 1, ["exec_1"]),
    ),
    "callable_limit": (
        Kind(callable_limit=Kind.LimitReached(limit=1, running=1)),
        reasons.CallableLimit("", 1, 1, []),
    ),
    "no_worker": (Kind(no_worker=Kind.NoWorker()), reasons.NoWorker("", None)),
    "withheld": (
        Kind(withheld=Kind.Withheld(worker_id="w", until=STAMP)),
        reasons.Withheld("", "w", WHEN),
    ),
    "slots_taken": (
        Kind(slots_taken=Kind.SlotsTaken(workers=2, held=8)),
        reasons.SlotsTaken("", 2, 8),
    ),
    "ahead": (
        Kind(ahead=Kind.Ahead(count=1000, more=True)),
        reasons.Ahead("", 1000, more=True),
    ),
    "turn": (Kind(turn=Kind.Turn(tenants=3)), reasons.Turn("", 3, more=False)),
}
"""What is shown of each kind of reason but `finished`."""


@pytest.mark.parametrize("kind", SEEN)
def test_each_kind_has_its_view(kind: str) -> None:
    proto, view = SEEN[kind]

    assert reason_of(proto) == view
    assert view.kind == kind


def test_every_kind_of_the_protocol_is_tested() -> None:
    kinds = [field.name for field in Kind.DESCRIPTOR.oneofs_by_name["kind"].fields]

    assert kinds == ["finished", *SEEN]


def test_an_end_is_shown_with_its_error() -> None:
    done = Kind.Finished(
        status=records.BACKGROUND_EXECUTION_STATUS_TIMEOUT,
        reason=records.END_REASON_DEADLINE,
        actor=records.Actor(kind=records.ACTOR_KIND_CLOCK),
        ended_at=STAMP,
        error=records.ExecutionError(code="DEADLINE"),
    )
    view = reason_of(Kind(text="it timed out", finished=done))

    assert isinstance(view, reasons.Finished)
    assert (view.status, view.reason, view.ended_at) == (Status.TIMEOUT, "deadline", WHEN)
    assert view.error is not None
    assert view.error.code == "DEADLINE"


def test_a_kind_of_a_newer_server_has_its_words() -> None:
    view = reason_of(Kind(text="the moon is full"))

    assert (view.kind, view.text) == ("", "the moon is full")


def test_an_explanation_is_its_lines() -> None:
    told = Explanation(
        service.ExplainResponse(
            status=QUEUED,
            reasons=[Kind(text="one", turn=Kind.Turn(tenants=1)), Kind(text="two")],
            estimated_start=messages.StartEstimate(earliest_ms=5, latest_ms=1_000),
        )
    )

    assert str(told) == "one\ntwo"
    assert repr(told) == "<Explanation queued: turn, unknown>"
    assert told.estimated_start == StartEstimate(
        timedelta(milliseconds=5), timedelta(milliseconds=1_000)
    )
    assert '"turn":{"more":false,"tenants":1}' in told.to_json()


def test_no_reason_is_said_in_words() -> None:
    told = Explanation(service.ExplainResponse(status=QUEUED))

    assert str(told) == NOTHING
    assert repr(told) == "<Explanation queued: nothing>"
    assert told.estimated_start is None
