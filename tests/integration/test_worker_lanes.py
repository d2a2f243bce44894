"""Workers whose callables have slots of their own, and workers that prefetch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from backlane import Client, Worker
from tests.integration.ends import PATIENCE_S

if TYPE_CHECKING:
    from backlane.testing import ServerProcess
    from tests.conftest import StartServer

MANY = 1_010


def test_a_worker_with_a_thousand_callables_with_slots_of_their_own_takes_one_stream(
    start_server: StartServer,
) -> None:
    server = start_server(args=("--max-streams", "2"))
    worker = Worker("many", target=server.target, tenants="t")

    def echo(number: int) -> int:
        return number

    for number in range(MANY):
        worker.callable(name=f"echo.{number}", concurrency=1)(echo)
    with worker.running(), Client(server.target, tenant="t") as client:
        handles = [client.enqueue(f"echo.{number}", number) for number in range(0, MANY, 100)]
        results = [handle.result(timeout=PATIENCE_S) for handle in handles]

    assert results == list(range(0, MANY, 100))


def test_a_callable_at_its_limit_delays_no_other(server: ServerProcess, tenant: str) -> None:
    worker = Worker("two", target=server.target, tenants=tenant)
    may_end = threading.Event()

    @worker.callable(concurrency=1)
    def slow() -> None:
        assert may_end.wait(PATIENCE_S)

    @worker.callable
    def fast(number: int) -> int:
        return number

    with worker.running(), Client(server.target, tenant=tenant) as client:
        held = [client.enqueue("slow") for _ in range(3)]
        numbers = [client.enqueue("fast", number) for number in range(100)]
        assert [handle.result(timeout=PATIENCE_S) for handle in numbers] == list(range(100))
        may_end.set()
        assert [handle.result(timeout=PATIENCE_S) for handle in held] == [None] * 3


def test_what_was_leased_ahead_goes_to_another_worker_when_its_slots_stay_taken(
    server: ServerProcess, tenant: str
) -> None:
    may_end = threading.Event()
    begun = threading.Event()

    def work(number: int) -> int:
        if number == -1:
            begun.set()
            assert may_end.wait(PATIENCE_S)
        return number

    first, second = (
        Worker(name, target=server.target, tenants=tenant, concurrency=1) for name in "ab"
    )
    for worker in (first, second):
        worker.callable(name="work")(work)
    with first.running(), Client(server.target, tenant=tenant) as client:
        # Short callables first, so that the worker leases some ahead of its only slot.
        for handle in client.enqueue_many("work", range(50)):
            handle.result(timeout=PATIENCE_S)
        stuck = client.enqueue("work", -1)
        assert begun.wait(PATIENCE_S)
        waiting = client.enqueue_many("work", range(5))
        with second.running():
            results = [handle.result(timeout=PATIENCE_S) for handle in waiting]
            may_end.set()
            assert stuck.result(timeout=PATIENCE_S) == -1
        losses = {client.get(handle.execution_id).worker_losses for handle in waiting}

    assert results == list(range(5))
    assert losses == {0}
