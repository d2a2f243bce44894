"""The lifecycle of the SDK's worker: drains, restarting servers, slots, tenants."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from backlane import Context, Worker, errors
from backlane.schema.values import from_value
from tests.conformance.door import Door, new_tenant
from tests.integration.ends import (
    COMPLETED,
    PATIENCE_S,
    QUEUED,
    finished,
    run_one,
    waiting,
)

if TYPE_CHECKING:
    from pathlib import Path

    from backlane.testing import ServerProcess
    from tests.conftest import StartServer


def test_a_drain_lets_what_runs_finish_and_takes_nothing_more(
    worker: Worker, producer: Door
) -> None:
    began, may_end = threading.Event(), threading.Event()

    @worker.callable
    def work() -> str:
        began.set()
        may_end.wait(PATIENCE_S)
        return "finished"

    shift = worker.start()
    made = producer.enqueue(callable_name="work")
    assert began.wait(PATIENCE_S)
    shift.drain()
    left = producer.enqueue(callable_name="work")
    may_end.set()

    assert shift.wait(PATIENCE_S)
    assert producer.get(made.execution_id).status == COMPLETED
    assert producer.get(left.execution_id).status == QUEUED


def test_what_outlasts_a_drain_is_given_back_and_no_attempt_is_spent(
    server: ServerProcess, producer: Door
) -> None:
    worker = Worker(target=server.target, tenants=producer.tenant, drain_timeout=0.01)
    began = threading.Semaphore(0)
    seen: list[object] = []
    worker.callable(waiting(began, seen))

    @worker.callable
    def wait(ctx: Context) -> None:
        began.release()
        ctx.cancelled.wait(PATIENCE_S)
        raise RuntimeError("told to stop")

    with worker.running():
        ids = [producer.enqueue(callable_name=name).execution_id for name in ("wait_async", "wait")]
        for _ in ids:
            assert began.acquire(timeout=PATIENCE_S)

    assert [producer.get(execution_id).status for execution_id in ids] == [QUEUED, QUEUED]
    assert not any(producer.get(execution_id).HasField("error") for execution_id in ids)
    assert seen == ["drain"]


def test_a_second_drain_does_not_wait(server: ServerProcess, producer: Door) -> None:
    worker = Worker(target=server.target, tenants=producer.tenant, drain_timeout=3600)
    began = threading.Event()

    @worker.callable
    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    shift = worker.start()
    made = producer.enqueue(callable_name="wait")
    assert began.wait(PATIENCE_S)
    shift.drain()
    shift.drain()

    assert shift.wait(PATIENCE_S)
    assert producer.get(made.execution_id).status == QUEUED


def test_a_killed_server_loses_no_lease_and_no_result(
    start_server: StartServer,
    tmp_path: Any,  # noqa: ANN401
) -> None:
    server = start_server(tmp_path / "data")
    worker = Worker(target=server.target, tenants="*", concurrency=8)
    began, may_end = threading.Semaphore(0), threading.Event()

    @worker.callable
    async def wait_async(ctx: Context) -> int:
        began.release()
        await asyncio.to_thread(may_end.wait, PATIENCE_S)
        return ctx.attempt

    @worker.callable
    def wait(ctx: Context) -> int:
        began.release()
        may_end.wait(PATIENCE_S)
        return ctx.attempt

    with grpc.insecure_channel(server.target) as channel, worker.running():
        producer = Door(channel, "t")
        names = ["wait_async", "wait"] * 2
        ids = [producer.enqueue(callable_name=name).execution_id for name in names]
        for _ in ids:
            assert began.acquire(timeout=PATIENCE_S)
        server.kill()
        may_end.set()
        server.restart()
        ends = finished(producer, *ids)

    assert [from_value(record.output) for record in ends] == [1, 1, 1, 1]


def test_a_server_that_drains_takes_its_worker_along_to_the_next(
    start_server: StartServer,
    tmp_path: Any,  # noqa: ANN401
) -> None:
    server = start_server(tmp_path / "data", args=("--drain-grace", "100ms"))
    worker = Worker(target=server.target, tenants="*")
    began, may_end = threading.Event(), threading.Event()

    @worker.callable
    def wait(ctx: Context) -> int:
        began.set()
        may_end.wait(PATIENCE_S)
        return ctx.attempt

    with grpc.insecure_channel(server.target) as channel, worker.running():
        producer = Door(channel, "t")
        made = producer.enqueue(callable_name="wait")
        assert began.wait(PATIENCE_S)
        assert server.stop() == 0
        server.restart()
        may_end.set()
        [record] = finished(producer, made.execution_id)
        after = producer.producer.Enqueue(
            producer.new(callable_name="wait"), timeout=PATIENCE_S, wait_for_ready=True
        )
        finished(producer, after.execution.execution_id)

    assert (record.status, from_value(record.output)) == (COMPLETED, 1)


def test_a_callable_with_its_own_concurrency_neither_exceeds_nor_hoards(
    worker: Worker, producer: Door
) -> None:
    began, may_end = threading.Semaphore(0), threading.Event()

    @worker.callable(concurrency=2)
    def narrow() -> None:
        began.release()
        may_end.wait(PATIENCE_S)

    @worker.callable
    def wide() -> str:
        return "passed"

    with worker.running():
        ids = [producer.enqueue(callable_name="narrow").execution_id for _ in range(5)]
        for _ in range(2):
            assert began.acquire(timeout=PATIENCE_S)
        passed = run_one(producer, "wide")
        stats = producer.stats()
        may_end.set()
        ends = finished(producer, *ids)

    assert from_value(passed.output) == "passed"
    assert (stats.running, stats.ready) == (2, 3)
    assert {record.status for record in ends} == {COMPLETED}


def test_every_slot_is_busy_while_work_waits(server: ServerProcess, producer: Door) -> None:
    worker = Worker(target=server.target, tenants=producer.tenant, concurrency=8)
    full, may_end = threading.Barrier(8 + 1), threading.Event()

    @worker.callable
    def work() -> None:
        full.wait(PATIENCE_S)
        may_end.wait(PATIENCE_S)

    ids = [producer.enqueue(callable_name="work").execution_id for _ in range(16)]
    with worker.running():
        full.wait(PATIENCE_S)
        assert (producer.stats().running, producer.stats().ready) == (8, 8)
        may_end.set()
        full.wait(PATIENCE_S)
        ends = finished(producer, *ids)

    assert {record.status for record in ends} == {COMPLETED}


def test_a_worker_waits_for_a_server_that_is_not_there_yet(
    start_server: StartServer,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Any,  # noqa: ANN401
) -> None:
    server = start_server(tmp_path / "data")
    target = server.target
    server.kill()
    worker = Worker(target=target, tenants="*")
    said = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == f"no server at {target}: trying until there is one":
                said.set()

    listener = Listener()
    logging.getLogger("backlane.worker").addHandler(listener)

    @worker.callable
    def work() -> str:
        return "worked"

    try:
        with worker.running(), grpc.insecure_channel(target) as channel:
            assert said.wait(PATIENCE_S)
            server.restart()
            record = run_one(Door(channel, "t"), "work")
    finally:
        logging.getLogger("backlane.worker").removeHandler(listener)

    assert record.status == COMPLETED
    assert len([text for text in caplog.messages if text.startswith("no server at")]) == 1


def test_a_server_that_knows_no_workers_ends_the_run_with_one_clear_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = grpc.server(futures.ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    worker = Worker(worker_id="w", target=f"127.0.0.1:{port}")

    @worker.callable
    def work() -> None: ...

    @worker.callable(concurrency=1)
    def alone() -> None: ...

    with pytest.raises(errors.UnimplementedError):
        worker.run()
    other.stop(None)
    [said] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert said.getMessage().startswith("w: cannot continue: UnimplementedError: UNIMPLEMENTED: ")


def test_a_drain_ends_a_worker_that_never_found_a_server(start_server: StartServer) -> None:
    server = start_server()
    server.kill()
    worker = Worker(target=server.target)

    @worker.callable
    def work() -> None: ...

    shift = worker.start()
    shift.drain()

    assert shift.wait(PATIENCE_S)


def test_a_worker_serves_its_tenants_alone(server: ServerProcess, producer: Door) -> None:
    other = Door(producer.channel, new_tenant())
    worker = Worker(target=server.target, tenants=producer.tenant)

    @worker.callable
    def work() -> None: ...

    left = other.enqueue(callable_name="work")
    with worker.running():
        assert run_one(producer, "work").status == COMPLETED

    assert other.get(left.execution_id).status == QUEUED


SIGNALLED = """
import os, signal, sys, threading
from backlane import Worker

worker = Worker(target=sys.argv[1], drain_timeout=5)

@worker.callable
def wait(ctx):
    # To this thread, as the kernel may choose: the main one goes on waiting.
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    ctx.cancelled.wait(20)
    ctx.check_cancelled()

worker.run(drain_timeout=0.1)
print("drained")
"""


def check_drains(program: str, server: ServerProcess, producer: Door, folder: Path) -> None:
    """Run a program for the producer's tenant, which says that it has drained, and ends well."""
    script = folder / "program.py"
    script.write_text(program)

    run = subprocess.run(
        [sys.executable, str(script), server.target],
        capture_output=True,
        check=False,
        env=os.environ | {"BACKLANE_TENANT": producer.tenant},
        text=True,
        timeout=PATIENCE_S,
    )

    assert (run.returncode, run.stdout) == (0, "drained\n"), run.stderr


def test_a_signal_drains_whichever_thread_the_kernel_gives_it_to(
    server: ServerProcess, producer: Door, tmp_path: Path
) -> None:
    producer.enqueue(callable_name="wait")

    check_drains(SIGNALLED, server, producer, tmp_path)


LEFT_BEHIND = """
import asyncio, sys, threading
from backlane import Worker

worker = Worker(target=sys.argv[1], drain_timeout=0.01)
began = threading.Event()

def block():
    began.set()
    threading.Event().wait(60)

@worker.callable
async def wait():
    await asyncio.to_thread(block)

with worker.running():
    began.wait(20)
print("drained")
"""


def test_what_a_callable_runs_on_a_thread_does_not_keep_the_process_from_ending(
    server: ServerProcess, producer: Door, tmp_path: Path
) -> None:
    producer.enqueue(callable_name="wait")

    check_drains(LEFT_BEHIND, server, producer, tmp_path)
