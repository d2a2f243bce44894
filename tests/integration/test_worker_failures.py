"""Failures against a real server: bad details do not change whether an attempt is retried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from backlane import Failure, Worker
from backlane.schema.values import from_value
from backlane.v1 import execution_pb2 as records
from tests.conformance.door import Door
from tests.integration.ends import FAILED, run_one

if TYPE_CHECKING:
    from tests.conftest import StartServer

TWICE = records.RetryConfig(max_attempts=2, initial_delay_ms=1)


def test_details_above_the_limits_spend_one_attempt_and_jam_nothing(
    worker: Worker, producer: Door
) -> None:
    @worker.callable
    def fetch() -> None:
        raise Failure("away", category="network_error", details="x" * (21 << 20))

    @worker.callable
    def work() -> None: ...

    with worker.running():
        record = run_one(producer, "fetch", retry=TWICE)
        run_one(producer, "work")

    assert (record.status, record.attempt) == (FAILED, 2)
    assert record.error.category == records.ERROR_CATEGORY_NETWORK_ERROR
    details = from_value(record.error.details)
    assert details == {
        "unreadable_details": "the details have 22020101 bytes, and the limit is 65536"
    }


def test_details_that_a_server_is_set_not_to_take_are_left_out(start_server: StartServer) -> None:
    server = start_server(args=("--limit", "max_details_bytes=100"))
    worker = Worker(target=server.target, tenants="*")

    @worker.callable
    def fetch() -> None:
        raise Failure("away", category="network_error", code="away", details="x" * 200)

    with worker.running(), grpc.insecure_channel(server.target) as channel:
        record = run_one(Door(channel, "t"), "fetch", retry=TWICE)

    assert (record.status, record.attempt, record.error.code) == (FAILED, 2, "away")
    assert not record.error.HasField("details")
