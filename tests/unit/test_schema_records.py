"""Records in Python: their properties, and fields without a value."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from backlane.schema.records import (
    Actor,
    BackgroundExecution,
    ExecutionFault,
    Mode,
    Status,
)
from backlane.schema.stats import QueueStats
from backlane.schema.values import to_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as service

BORN = datetime(2026, 1, 1, 0, 0, 0, 5000, tzinfo=UTC)


def at(millisecond: int) -> Timestamp:
    """So many milliseconds after midnight."""
    stamp = Timestamp()
    stamp.FromMilliseconds(1_767_225_600_000 + millisecond)
    return stamp


def execution(**fields: Any) -> BackgroundExecution:  # noqa: ANN401  # those of the message
    return BackgroundExecution(records.BackgroundExecution(**fields))


@pytest.mark.parametrize(
    ("status", "is_finished", "is_success"),
    [
        (Status.QUEUED, False, False),
        (Status.RUNNING, False, False),
        (Status.COMPLETED, True, True),
        (Status.FAILED, True, False),
        (Status.CANCELLED, True, False),
        (Status.TIMEOUT, True, False),
        (Status.UNSPECIFIED, False, False),
    ],
)
def test_the_table_of_statuses_is_the_schemas(
    status: Status,
    is_finished: bool,  # noqa: FBT001  # pytest names it
    is_success: bool,  # noqa: FBT001
) -> None:
    shown = execution(status=status.number)

    assert (shown.status, shown.is_finished, shown.is_success) == (status, is_finished, is_success)


@pytest.mark.parametrize(
    ("mode", "is_silent", "requires_result"),
    [
        (Mode.FIRE_AND_FORGET, True, False),
        (Mode.SILENT, True, True),
        (Mode.DEFERRED, False, False),
    ],
)
def test_the_table_of_modes_is_the_schemas(
    mode: Mode,
    is_silent: bool,  # noqa: FBT001  # pytest names it
    requires_result: bool,  # noqa: FBT001
) -> None:
    number = records.BackgroundExecutionMode.Value(f"BACKGROUND_EXECUTION_MODE_{mode.name}")
    shown = execution(config=records.BackgroundExecutionConfig(mode=number))

    assert (shown.mode, shown.is_silent, shown.requires_result) == (
        mode,
        is_silent,
        requires_result,
    )


def test_an_empty_config_means_the_defaults() -> None:
    shown = execution()

    assert (shown.mode, shown.priority, shown.is_silent) == ("fire_and_forget", 50, True)


def test_a_priority_of_0_is_not_the_default() -> None:
    assert execution(config=records.BackgroundExecutionConfig(priority=0)).priority == 0


@pytest.mark.parametrize(
    ("started", "completed", "expected"),
    [(None, None, None), (10, None, None), (None, 10, None), (10, 25, 15), (25, 10, 0)],
)
def test_a_duration_needs_both_ends_and_is_never_negative(
    started: int | None, completed: int | None, expected: int | None
) -> None:
    shown = execution(
        started_at=None if started is None else at(started),
        completed_at=None if completed is None else at(completed),
    )

    assert shown.duration_ms == expected


def test_what_is_absent_is_none_or_empty() -> None:
    shown = execution(queued_at=at(5), updated_at=at(5))

    assert [shown.queued_at, shown.updated_at] == [BORN, BORN]
    absent = (
        "input output error reason actor worker_id dedup_key started_at completed_at not_before "
        "start_deadline deadline next_attempt_at duration_ms"
    )
    assert {name: getattr(shown, name) for name in absent.split()} == dict.fromkeys(absent.split())
    assert (shown.context, shown.metadata) == ({}, {})


def test_an_end_tells_how_and_by_whom() -> None:
    shown = execution(
        status=Status.FAILED.number,
        reason=records.END_REASON_WORKER_LOST,
        actor=records.Actor(kind=records.ACTOR_KIND_CLOCK),
        error=records.ExecutionError(
            category=records.ERROR_CATEGORY_KERNEL_INTERNAL,
            code="WORKER_LOST",
            message="lost",
            attempt=3,
            details=to_value({"losses": 3}),
            occurred_at_ms=1_767_225_600_005,
        ),
    )

    error = shown.error
    assert error is not None
    assert (shown.reason, shown.actor) == ("worker_lost", Actor("clock", ""))
    assert (error.category, error.code, error.message) == ("kernel_internal", "WORKER_LOST", "lost")
    assert (error.attempt, error.details, error.occurred_at) == (3, {"losses": 3}, BORN)


def test_values_come_back_as_they_were_sent() -> None:
    shown = execution(output=to_value({"n": 7, "share": 0.5}), metadata={"tags": to_value([None])})

    assert shown.output == {"n": 7, "share": 0.5}
    assert shown.metadata == {"tags": [None]}


def test_a_record_that_shows_its_id_alone_can_be_looked_at() -> None:
    shown = execution(execution_id="exec_1")

    assert repr(shown) == "<BackgroundExecution  exec_1 unspecified>"


def test_a_status_of_a_newer_server_is_none_that_is_known() -> None:
    shown = execution(status=99)

    assert (shown.status, shown.is_finished) == (Status.UNSPECIFIED, False)


@pytest.mark.parametrize(
    "view",
    [
        execution(execution_id="exec_1"),
        ExecutionFault(records.ExecutionError(message="no")),
        QueueStats(service.GetQueueStatsResponse(ready=1)),
    ],
    ids=lambda view: type(view).__name__,
)
def test_a_view_is_frozen_compares_by_what_it_shows_and_can_be_pickled(
    view: Any,  # noqa: ANN401  # of three kinds
) -> None:
    again = pickle.loads(pickle.dumps(view))  # noqa: S301  # its own

    assert again == view
    assert again is not view
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.proto = None
    with pytest.raises(TypeError, match="unhashable"):
        hash(view)


def test_json_goes_both_ways() -> None:
    shown = execution(execution_id="exec_1", status=Status.QUEUED.number, version=3)

    assert BackgroundExecution.from_json(shown.to_json()) == shown
    assert '"status":"queued"' in shown.to_json()


def test_counts_are_told_by_callable_too() -> None:
    shown = QueueStats(
        service.GetQueueStatsResponse(
            ready=2,
            pending=1,
            suspended=4,
            held=3,
            ending=5,
            oldest_queued_at=at(5),
            callables=[service.CallableStats(callable_name="x", ready=2)],
        )
    )

    counts = "ready 2, pending 1, retrying 0, running 0, suspended 4, held 3, ending 5"
    assert repr(shown) == f"<QueueStats {counts}>"
    assert (shown.suspended, shown.held, shown.ending) == (4, 3, 5)
    assert shown.oldest_queued_at == BORN
    assert shown.callables["x"].ready == 2
    assert QueueStats(service.GetQueueStatsResponse()).oldest_queued_at is None
