"""A worker whose plain callables fork, as pools of processes do."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from backlane import Client
from tests.integration.cli_process import PATIENCE_S, started

if TYPE_CHECKING:
    from pathlib import Path

    from backlane.testing import ServerProcess

APP = """\
import multiprocessing
import os
import time

import backlane

worker = backlane.Worker()
fork = multiprocessing.get_context("fork")


@worker.callable
def square(numbers: list[int]) -> list[int]:
    with fork.Pool(2) as pool:
        return pool.map(pow_2, numbers)


def pow_2(number: int) -> int:
    return number**2


@worker.callable
def end_child(number: int) -> int | None:
    is_there = fork.Event()
    child = fork.Process(target=stay, args=(is_there,))
    child.start()
    # A SIGINT that comes while Python still sets up the child is lost, in any program.
    is_there.wait(10)
    os.kill(child.pid, number)
    child.join(10)
    status = child.exitcode
    child.kill()
    return status


def stay(is_there: object) -> None:
    is_there.set()
    time.sleep(600)


@worker.callable
def end_at_once(number: int) -> list[int]:
    # Before they are set up.
    statuses = []
    for _ in range(5):
        child = os.fork()
        if not child:
            time.sleep(5)
            os._exit(0)
        os.kill(child, number)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return statuses


@worker.callable
def fork_support() -> str | None:
    return os.environ.get("GRPC_ENABLE_FORK_SUPPORT")
"""


def test_callables_may_fork_and_end_their_children(
    server: ServerProcess, tenant: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    place = ["--target", server.target, "--tenant", tenant]
    with (
        Client(server.target, tenant=tenant) as client,
        started("worker", "app", *place, folder=tmp_path) as worker,
    ):
        squares = [client.run("square", [1, 2, 3], wait_timeout=PATIENCE_S) for _ in range(3)]
        at_once = client.run("end_at_once", int(signal.SIGTERM), wait_timeout=PATIENCE_S)
        ends = [client.run("end_child", int(number)) for number in (signal.SIGTERM, signal.SIGINT)]

        assert client.run("fork_support") == "0"
        assert worker.end(signal.SIGTERM) == 0
    assert squares == [[1, 4, 9]] * 3
    assert at_once == [-signal.SIGTERM] * 5
    # As in any other program, SIGINT is KeyboardInterrupt there.
    assert ends == [-signal.SIGTERM, 1]
