"""Why an execution waits, as both clients and the command tell it, against a real server."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from backlane import Client, Failure, Retry, Worker, errors
from backlane.schema import reasons
from backlane.schema.records import Status
from tests.conformance.door import UNKNOWN_ID, new_tenant
from tests.integration.client_kinds import KINDS, PATIENCE_S, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backlane.testing import ServerProcess


@pytest.fixture
def tenant() -> str:
    """A tenant that nobody else uses."""
    return new_tenant()


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client of either kind, for a tenant of its own."""
    with open_client(request.param, server.target, tenant, call_timeout=PATIENCE_S) as opened:
        yield opened


def until(holds: Callable[[], bool]) -> None:
    """Ask until something holds. Each look is a call of the server."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s


def kinds(client: Client, execution_id: str) -> list[str]:
    """The kinds of an execution's reasons."""
    return [reason.kind for reason in client.explain(execution_id).reasons]


def test_a_worker_that_comes_and_goes_changes_the_reasons(
    client: Client, server: ServerProcess, tenant: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    worker = Worker(target=server.target, tenants=tenant, concurrency=1)

    @worker.callable
    def hold() -> None:
        begun.set()
        assert go_on.wait(PATIENCE_S)

    first = client.enqueue("hold")
    [alone] = first.explain().reasons
    with worker.running():
        assert begun.wait(PATIENCE_S)
        second, third = client.enqueue("hold"), client.enqueue("hold")
        [running] = first.explain().reasons
        slots, ahead = third.explain().reasons
        go_on.set()
        third.result(timeout=PATIENCE_S)
        [done] = second.explain().reasons
    last = client.enqueue("hold")
    until(lambda: "one did" in str(last.explain()))

    assert alone == reasons.NoWorker(alone.text, None)
    assert isinstance(running, reasons.Running)
    assert (running.attempt, running.worker_id) == (1, first.get().worker_id)
    assert slots == reasons.SlotsTaken(slots.text, workers=1, held=1)
    assert ahead.text == "1 execution is ahead of it"
    assert isinstance(done, reasons.Finished)
    assert kinds(client, last.execution_id) == ["no_worker"]


def test_a_backoff_names_the_error(client: Client, server: ServerProcess, tenant: str) -> None:
    worker = Worker(target=server.target, tenants=tenant)

    @worker.callable
    def fail() -> None:
        raise Failure("no route", category="network_error", code="DOWN")

    handle = client.enqueue("fail", retry=Retry(max_attempts=2, initial_delay=3600, max_delay=3600))
    with worker.running():
        until(lambda: kinds(client, handle.execution_id) == ["backing_off"])
    [reason] = handle.explain().reasons

    assert isinstance(reason, reasons.BackingOff)
    assert reason.error is not None
    assert (reason.error.code, reason.error.attempt) == ("DOWN", 1)
    assert "after attempt 1 failed: DOWN: no route" in reason.text


def test_what_is_paused_and_what_depends_says_so(client: Client) -> None:
    first = client.enqueue("nobody", delay=3600)
    second = client.enqueue("nobody", after=[first])
    second.pause()
    unmet, paused = second.explain().reasons

    assert unmet == reasons.UnmetDependencies(unmet.text, 1, {first.execution_id: Status.QUEUED})
    assert isinstance(paused, reasons.Paused)
    assert paused.by is not None
    assert paused.by.kind == "client"
    assert kinds(client, first.execution_id) == ["not_due"]


def test_an_end_is_explained_too(client: Client) -> None:
    handle = client.enqueue("nobody")
    handle.cancel()
    told = handle.explain()
    [reason] = told.reasons

    assert isinstance(reason, reasons.Finished)
    assert (told.status, reason.reason) == ("cancelled", "cancel_requested")
    assert reason.text.startswith("it was cancelled ")


def test_nobody_explains_the_execution_of_another_tenant(
    client: Client, server: ServerProcess
) -> None:
    handle = client.enqueue("nobody")
    with (
        Client(server.target, tenant=new_tenant()) as other,
        pytest.raises(errors.ExecutionNotFoundError),
    ):
        other.explain(handle.execution_id)
    with pytest.raises(errors.ExecutionNotFoundError):
        client.explain(UNKNOWN_ID)
