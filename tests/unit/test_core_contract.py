"""Agreements of Python and the core: reasons, calls, leases in replies that were not sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backlane import _core
from backlane.errors import REASONS
from backlane.v1 import admin_service_pb2, execution_service_pb2, worker_service_pb2
from tests.unit.core_calls import answer, call, running

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = [
    *execution_service_pb2.DESCRIPTOR.services_by_name.values(),
    *worker_service_pb2.DESCRIPTOR.services_by_name.values(),
    *admin_service_pb2.DESCRIPTOR.services_by_name.values(),
]


def test_both_have_the_same_reasons_with_the_same_codes() -> None:
    expected = {reason: row.code.value[0] for reason, row in REASONS.items()}

    assert dict(_core.reasons()) == expected
    assert len(_core.reasons()) == len(expected)


def test_the_core_has_every_call_of_the_contract() -> None:
    expected = {
        f"/{service.full_name}/{method.name}": method.client_streaming
        for service in SERVICES
        for method in service.methods
    }
    core = _core.Core(data=None)

    assert dict(core.methods()) == expected
    core.stop()


def lease(core: _core.Core, worker_id: str) -> tuple[int, list[str]]:
    """The ticket of a Lease call that does not wait, and the executions it got."""
    request = worker_service_pb2.LeaseRequest(worker_id=worker_id, callables=["*"])
    ticket, reply = answer(core, "Lease", request)
    leases = worker_service_pb2.LeaseResponse.FromString(reply).leases
    return ticket, [lease.execution.execution_id for lease in leases]


def enqueue(core: _core.Core) -> str:
    request = execution_service_pb2.EnqueueRequest(tenant_id="t", callable_name="c")
    _, reply = answer(core, "Enqueue", request)
    response = execution_service_pb2.EnqueueResponse.FromString(reply)
    return response.execution.execution_id


def test_leases_of_a_reply_that_was_not_delivered_are_given_back_at_once() -> None:
    with running() as core:
        execution_id = enqueue(core)
        ticket, leased = lease(core, "gone")
        assert leased == [execution_id]
        assert lease(core, "other")[1] == []

        core.abandon(ticket)

        assert lease(core, "other")[1] == [execution_id]


def test_leases_of_a_reply_that_left_are_kept() -> None:
    with running() as core:
        execution_id = enqueue(core)
        ticket, leased = lease(core, "holder")
        core.written(ticket, 100)
        core.abandon(ticket)

        assert leased == [execution_id]
        assert lease(core, "other")[1] == []


def test_a_stopped_core_takes_every_call_and_does_nothing() -> None:
    with running() as core:
        path = "/backlane.v1.WorkerService/Work"
        method = [name for name, _ in core.methods()].index(path)
        stream = core.open(method, None)
        core.stop()

        core.abandon(core.call(0, None, None, b""))
        core.send(stream, b"")
        core.written(stream, 1)
        core.half_close(stream)
        core.close(stream)
        core.begin_drain()
        core.stop()
        assert [entry for entry in core.drain() if entry[1] == 0] == []


def test_a_stopped_core_leaves_one_database_file_that_can_be_copied(tmp_path: Path) -> None:
    for _ in range(5):
        with running(data=tmp_path) as core:
            enqueue(core)
            call(core, "List", execution_service_pb2.ListRequest(tenant_id="t"))

        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "LOCK",
            "backlane.db",
            "reserve",
            "watermark",
        ]
