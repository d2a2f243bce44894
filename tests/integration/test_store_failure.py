"""After a failed commit, or without its files, the server acknowledges nothing more, and exits.

The failures are real ones: the kernel refuses to let the server's files grow, or the files are
removed.
"""

from __future__ import annotations

import resource
import shutil
from typing import TYPE_CHECKING

import pytest

from backlane.errors import BacklaneError
from backlane.testing.server import ServerProcess
from tests.plain_client import PlainClient

if TYPE_CHECKING:
    from pathlib import Path

TENANT = "tenant_acme"
ATTEMPTS = 1_000
"""Enqueues until the log has to grow, at most."""


def forbid_growth(server: ServerProcess, data: Path) -> None:
    """Let none of the server's files grow beyond the largest there is, the reserve left out."""
    files = (file for file in data.iterdir() if file.name != "reserve")
    largest = max(file.stat().st_size for file in files)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (largest, largest))


def enqueue_until_refused(client: PlainClient) -> list[str]:
    """The ids of what was acknowledged before a call failed."""
    acknowledged: list[str] = []
    for number in range(ATTEMPTS):
        try:
            made = client.enqueue("mail", "x" * 4096, request_id=f"r{number}")
        except BacklaneError:
            return acknowledged
        acknowledged.append(made.execution.execution_id)
    pytest.fail(f"{ATTEMPTS} enqueues were acknowledged and the log never grew")


def test_a_server_whose_commit_fails_exits_and_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess.start(data, log=tmp_path / "server.log") as server:
        with PlainClient(server.target, TENANT) as client:
            first = client.enqueue("mail", "first").execution.execution_id
            forbid_growth(server, data)
            acknowledged = [first, *enqueue_until_refused(client)]
        status = server.process.wait(30)
        server.restart()
        with PlainClient(server.target, TENANT) as client:
            kept = [client.get(execution_id).execution_id for execution_id in acknowledged]

    assert status == 1
    assert kept == acknowledged


def test_a_server_whose_directory_was_removed_exits_and_says_so(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        ServerProcess.start(data, log=tmp_path / "server.log") as server,
        PlainClient(server.target, TENANT, timeout_s=5) as client,
    ):
        client.enqueue("mail", "kept")
        shutil.rmtree(data)
        with pytest.raises(BacklaneError):
            client.enqueue("mail", "lost")
        status = server.process.wait(30)
        log = server.read_log()

    assert status == 1
    assert f"{data}/backlane.db-wal was removed or replaced" in log
