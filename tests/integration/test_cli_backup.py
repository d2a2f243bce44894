"""Backups of running servers, and what a server knows that goes on from one."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import grpc
import pytest

from backlane.cli.main import run
from backlane.errors import from_status
from backlane.testing.server import ServerProcess, ServerStartError
from tests.conformance.door import Door
from tests.integration.cli_process import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from backlane.v1.execution_pb2 import BackgroundExecution
    from backlane.v1.worker_service_pb2 import Lease

    Command = Callable[..., Answer]

TENANT: Final = "acme"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process, which is not a server's."""

    def command(*arguments: object) -> Answer:
        status = run([*map(str, arguments)])
        return Answer(status, *capsys.readouterr())

    return command


class Place:
    """A server and the calls to it."""

    def __init__(self, server: ServerProcess, channel: grpc.Channel) -> None:
        """Make one."""
        self.server = server
        self.door = Door(channel, TENANT)

    def lease(self) -> Lease:
        """Lease the one execution that is queued."""
        [lease] = self.door.lease(1)
        return lease

    def refusal_of(self, lease: Lease) -> str:
        """The reason for which a completion is refused; empty if it is accepted."""
        outcome = self.door.complete(lease)
        is_refused = outcome.WhichOneof("outcome") == "status"
        return str(from_status(outcome.status).reason) if is_refused else ""

    def knows(self, execution: BackgroundExecution) -> bool:
        """Whether the server has this execution."""
        try:
            return self.door.get(execution.execution_id).input == execution.input
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            assert code == grpc.StatusCode.NOT_FOUND
            return False


@contextmanager
def serving(data: Path, *args: str) -> Iterator[Place]:
    """A server on a directory."""
    log = data.with_suffix(".log")
    with (
        ServerProcess.start(data, log=log, args=args) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        yield Place(server, channel)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Place]:
    """A running server."""
    with serving(tmp_path / "live") as place:
        yield place


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The directory of the running server."""
    return tmp_path / "live"


def test_a_backup_of_a_running_server_has_everything_until_then(
    live: Place, data: Path, tmp_path: Path, command: Command
) -> None:
    before = live.door.enqueue(input="before")
    made = command("backup", tmp_path / "backup", "--data", data)
    after = live.door.enqueue(input="after")
    restored = command("restore", tmp_path / "backup", tmp_path / "new")

    assert (made.status, made.err) == (0, "")
    assert made.out == f"1 facts and 1 rows were copied to {tmp_path / 'backup'}\n"
    assert (restored.status, restored.err) == (0, "")
    with serving(tmp_path / "new") as new:
        assert (new.knows(before), new.knows(after)) == (True, False)
    assert (live.knows(before), live.knows(after)) == (True, True)


def test_a_server_can_be_started_on_the_backup_itself(
    live: Place, data: Path, tmp_path: Path, command: Command
) -> None:
    before = live.door.enqueue(input="before")
    command("backup", tmp_path / "backup", "--data", data)
    with serving(tmp_path / "backup") as place:
        assert place.knows(before)


def test_tokens_given_after_a_backup_are_refused_by_the_restored_server(
    live: Place, data: Path, tmp_path: Path, command: Command
) -> None:
    live.door.enqueue(input="work")
    command("backup", tmp_path / "backup", "--data", data)
    # Both servers go on from the same epoch and counter.
    live.server.restart()
    held = live.lease()
    command("restore", tmp_path / "backup", tmp_path / "new")
    with serving(tmp_path / "new") as new:
        again = new.lease()
        assert again.execution.execution_id == held.execution.execution_id
        assert again.lease_token != held.lease_token
        assert again.lease_token.rpartition("_")[0] == held.lease_token.rpartition("_")[0]
        assert new.refusal_of(held) == "LEASE_LOST"
        assert new.refusal_of(again) == ""


def test_a_lease_from_before_the_backup_is_completed_on_the_restored_server(
    live: Place, data: Path, tmp_path: Path, command: Command
) -> None:
    live.door.enqueue(input="work")
    held = live.lease()
    command("backup", tmp_path / "backup", "--data", data)
    command("restore", tmp_path / "backup", tmp_path / "new")
    with serving(tmp_path / "new") as new:
        assert new.refusal_of(held) == ""


def test_tokens_of_a_lost_end_of_the_log_are_refused_after_accept_loss(
    live: Place, data: Path, tmp_path: Path
) -> None:
    live.door.enqueue(input="work")
    live.server.stop()
    live.server.restart()
    held = live.lease()
    live.server.kill()
    shutil.copytree(data, tmp_path / "cut")
    (tmp_path / "cut" / "backlane.db-wal").unlink()
    with serving(tmp_path / "cut", "--accept-loss") as cut:
        again = cut.lease()
        assert again.lease_token != held.lease_token
        assert again.lease_token.rpartition("_")[0] == held.lease_token.rpartition("_")[0]
        assert cut.refusal_of(held) == "LEASE_LOST"


def test_request_ids_of_the_backup_are_known_and_later_ones_are_free(
    live: Place, data: Path, tmp_path: Path, command: Command
) -> None:
    early = live.door.enqueue(input="early", request_id="early")
    command("backup", tmp_path / "backup", "--data", data)
    late = live.door.enqueue(input="late", request_id="late")
    command("restore", tmp_path / "backup", tmp_path / "new")
    with serving(tmp_path / "new") as new:
        repeated = new.door.enqueue(input="early", request_id="early")
        anew = new.door.enqueue(input="late", request_id="late")
        assert repeated.execution_id == early.execution_id
        assert anew.execution_id != late.execution_id
        assert not new.knows(late)


def copied_by_hand(live: Place, data: Path, copy: Path) -> None:
    """Copy the database at one moment and the watermark at a later one."""
    live.door.enqueue(input="early")
    live.server.stop()
    copy.mkdir()
    shutil.copy(data / "backlane.db", copy)
    live.server.restart()
    live.door.enqueue(input="late")
    shutil.copy(data / "watermark", copy)


def test_a_copy_made_by_hand_is_refused_with_the_way_out(
    live: Place, data: Path, tmp_path: Path, command: Command
) -> None:
    copied_by_hand(live, data, tmp_path / "copy")
    refused = command("restore", tmp_path / "copy", tmp_path / "new")

    assert refused.status == 7
    assert "are missing" in refused.err
    assert "`--accept-loss` goes on from where the database ends" in refused.err
    assert not (tmp_path / "new").exists()
    with pytest.raises(ServerStartError, match=r"`backlane serve --accept-loss`, which goes on"):
        ServerProcess.start(tmp_path / "copy", log=tmp_path / "log")


def test_a_copy_made_by_hand_is_restored_if_its_loss_is_accepted(
    live: Place, data: Path, tmp_path: Path, command: Command
) -> None:
    copied_by_hand(live, data, tmp_path / "copy")
    restored = command("restore", "--accept-loss", tmp_path / "copy", tmp_path / "new")

    assert (restored.status, restored.err) == (0, "")
    with serving(tmp_path / "new") as new:
        assert new.lease().execution.input == "early"


def test_the_destination_must_be_new(
    live: Place, data: Path, tmp_path: Path, command: Command
) -> None:
    live.door.enqueue(input="work")
    command("backup", tmp_path / "backup", "--data", data)
    again = command("backup", tmp_path / "backup", "--data", data)
    over = command("restore", tmp_path / "backup", data)

    assert (again.status, "is not empty" in again.err) == (2, True)
    assert (over.status, "is not empty" in over.err) == (2, True)


def test_a_directory_without_a_database_is_a_mistake_in_the_command(
    tmp_path: Path, command: Command
) -> None:
    answer = command("backup", tmp_path / "backup", "--data", tmp_path)

    assert (answer.status, "backlane.db" in answer.err) == (2, True)
    assert not (tmp_path / "backup").exists()


def test_a_running_server_is_backed_up_and_not_restored_from(
    live: Place, data: Path, tmp_path: Path, command: Command
) -> None:
    live.door.enqueue(input="work")
    answer = command("restore", data, tmp_path / "new")

    assert (answer.status, "is in use" in answer.err) == (2, True)


def test_a_damaged_directory_is_not_backed_up(
    live: Place, data: Path, tmp_path: Path, command: Command
) -> None:
    live.door.enqueue(input="a text to find")
    live.server.stop()
    database = bytearray((data / "backlane.db").read_bytes())
    database[database.rindex(b"a text to find")] ^= 1
    (data / "backlane.db").write_bytes(database)
    answer = command("backup", tmp_path / "backup", "--data", data)

    assert (answer.status, "page" in answer.err) == (7, True)
    assert not (tmp_path / "backup").exists()
