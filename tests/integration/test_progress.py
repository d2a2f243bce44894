"""Progress from a callable to the record, and to the command line."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from backlane import Client, Context, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backlane.testing import ServerProcess
    from tests.integration.cli_process import Ask

PATIENCE_S = 20


@pytest.fixture
def client(server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client of the same tenant as `ask`."""
    with Client(server.target, tenant=tenant) as made:
        yield made


@pytest.fixture
def finish() -> threading.Event:
    """Lets the callable return."""
    return threading.Event()


@pytest.fixture
def worker(server: ServerProcess, tenant: str, finish: threading.Event) -> Iterator[Worker]:
    """A worker whose callable reports often, and returns when it may."""
    made = Worker(worker_id="w1", target=server.target, tenants=tenant)

    @made.callable
    def climb(ctx: Context) -> str:
        for step in range(1001):
            ctx.progress(step / 1000, f"step {step}")
        assert finish.wait(PATIENCE_S)
        return "up"

    with made.running():
        yield made


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it never holds"
        threading.Event().wait(0.01)


@pytest.mark.usefixtures("worker")
def test_a_record_shows_the_newest_progress_while_the_attempt_runs(
    ask: Ask, client: Client, finish: threading.Event
) -> None:
    handle = client.enqueue("climb")
    newest = {"fraction": 1.0, "message": "step 1000"}

    until(lambda: handle.get().progress == newest)
    assert "progress  100%, step 1000\n" in ask("get", handle.execution_id).out
    told = ask("get", handle.execution_id, "--json").record
    assert told.progress == newest
    finish.set()
    assert handle.result(timeout=PATIENCE_S) == "up"
    assert handle.get().progress is None
