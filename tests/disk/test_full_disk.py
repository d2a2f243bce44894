"""A full disk: new executions are refused, running ones end, nothing is lost, and nothing exits.

The disk is a real file system, mounted from a file, so the tests need root. `pytest` leaves them
out elsewhere, and says so.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc
import pytest

from backlane.cli.main import run
from backlane.errors import from_rpc_error
from backlane.testing.server import ServerProcess
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import MIB, Door, text, text_of
from tests.disk.small import SmallDisk, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.needs_root, pytest.mark.slow, pytest.mark.timeout(300)]

DISK_BYTES: Final = 300 * MIB
BALLAST_BYTES: Final = 110 * MIB
"""What another program frees again when the disk is to have room."""

BATCH_ITEMS: Final = 15
AT_ONCE: Final = 20
"""Calls of 1 MiB at once, fewer than the server refuses."""

RESERVE: Final = "reserve"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, DISK_BYTES) as disk:
        disk.occupy("ballast", BALLAST_BYTES)
        yield disk


class Stand:
    """A server on the small disk, with a producer and a worker.

    Attributes:
        disk: the disk.
        server: the server.
        acknowledged: the ids that the server has acknowledged.
    """

    def __init__(self, disk: SmallDisk, server: ServerProcess, channel: grpc.Channel) -> None:
        """Make one."""
        self.disk = disk
        self.server = server
        self.door = Door(channel, "acme")
        self.acknowledged: list[str] = []

    def enqueue(self, size: int) -> str | None:
        """Enqueue one; returns the reason of a refusal."""
        return self._enqueue(lambda: [self.door.enqueue(input="x" * size).execution_id])

    def enqueue_batch(self, size: int, items: int) -> str | None:
        """Enqueue a batch; returns the reason of a refusal."""
        new = [api.EnqueueRequest(callable_name="mail.send", input="x" * size)] * items
        request = api.EnqueueBatchRequest(tenant_id="acme", items=new)

        def enqueue() -> list[str]:
            answer = self.door.call("EnqueueBatch", request)
            return [result.execution.execution_id for result in answer.results]

        return self._enqueue(enqueue)

    def _enqueue(self, enqueue: Callable[[], list[str]]) -> str | None:
        try:
            self.acknowledged.extend(enqueue())
        except grpc.RpcError as error:
            return str(from_rpc_error(error).reason)
        return None

    def lease(self, most: int) -> list[work.Lease]:
        """Lease some executions, for long enough."""
        return self.door.lease(most, lease_duration_ms=600_000)

    def complete_all(self) -> int:
        """Lease and complete until nothing is queued; returns how many were completed."""
        done = 0
        while leases := self.lease(100):
            outcomes = [self.door.complete(lease, text("done")) for lease in leases]
            assert {outcome.WhichOneof("outcome") for outcome in outcomes} == {"result"}
            done += len(leases)
        return done

    def says(self, words: str) -> None:
        """Return once the server's log has these words."""
        while words not in self.log:
            assert self.server.process.poll() is None

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self.server.log.read_text()

    def has_room_again(self) -> None:
        """Make room, and return once the server takes new executions."""
        self.disk.give_back("ballast")
        while self.enqueue(10) == "DISK_FULL":
            assert self.server.process.poll() is None

    def kept(self) -> list[str]:
        """The acknowledged ids that the server still knows."""
        return [self.door.get(known).execution_id for known in self.acknowledged]


@pytest.fixture
def stand(disk: SmallDisk, tmp_path: Path) -> Iterator[Stand]:
    with (
        ServerProcess.start(disk.path / "data", log=tmp_path / "log") as server,
        grpc.insecure_channel(
            server.target, options=[("grpc.max_receive_message_length", -1)]
        ) as channel,
    ):
        yield Stand(disk, server, channel)


def one_by_one(stand: Stand) -> list[str | None]:
    return [stand.enqueue(100_000)]


def many_at_once(stand: Stand) -> list[str | None]:
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(stand.enqueue, [64_000] * 64))


def in_small_batches(stand: Stand) -> list[str | None]:
    return [stand.enqueue_batch(20_000, 200)]


def in_large_batches(stand: Stand) -> list[str | None]:
    return [stand.enqueue_batch(1_000_000, BATCH_ITEMS)]


def in_large_batches_at_once(stand: Stand) -> list[str | None]:
    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(lambda _: stand.enqueue_batch(1_000_000, BATCH_ITEMS), range(6)))


@pytest.mark.parametrize(
    "load",
    [one_by_one, many_at_once, in_small_batches, in_large_batches, in_large_batches_at_once],
)
def test_a_full_disk_refuses_enqueues_takes_completions_and_loses_nothing(
    stand: Stand, load: Callable[[Stand], Sequence[str | None]]
) -> None:
    reasons = {stand.enqueue_batch(10, BATCH_ITEMS)}
    while "DISK_FULL" not in reasons:
        reasons.update(load(stand))
        # A share of the work is done meanwhile, so that reports are written too.
        for lease in stand.lease(1):
            stand.door.complete(lease, text_of(50_000))

    assert reasons <= {None, "DISK_FULL", "RATE_LIMITED"}
    assert stand.complete_all() > 0
    stand.has_room_again()
    assert stand.kept() == stand.acknowledged
    assert "panicked" not in stand.log
    assert stand.server.stop() == 0


def fill(stand: Stand) -> None:
    while stand.enqueue(500_000) is None:
        pass


def test_another_program_that_fills_the_disk_cannot_take_the_reserve(stand: Stand) -> None:
    fill(stand)
    stand.disk.occupy_all("other")

    assert stand.disk.free_bytes < MIB
    assert stand.enqueue(10) == "DISK_FULL"
    assert stand.complete_all() > 0
    assert stand.enqueue(10) == "DISK_FULL"
    stand.disk.give_back("other")
    stand.has_room_again()
    assert stand.kept() == stand.acknowledged


def test_changes_are_logged_with_the_path_and_the_free_bytes(stand: Stand) -> None:
    data = stand.disk.path / "data"
    fill(stand)
    stand.says(f"the disk of {data} is full: ")
    stand.complete_all()
    stand.has_room_again()
    stand.says(f"the disk of {data} has room again: ")

    assert stand.log.count("is full: ") == 1
    assert " bytes are free" in stand.log


def test_a_server_waits_while_the_reserve_is_used_up_and_goes_on(stand: Stand) -> None:
    ids = [stand.door.enqueue(input=str(n)).execution_id for n in range(90)]
    stand.acknowledged.extend(ids)
    leases = stand.lease(90)
    stand.disk.occupy_all("other")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = [pool.submit(stand.door.complete, lease, text_of(MIB)) for lease in leases]
        stand.says("The reserve is used up")
        stand.disk.give_back("other")
        outcomes = {one.result().WhichOneof("outcome") for one in done}

    assert outcomes == {"result"}
    stand.has_room_again()
    assert stand.kept() == stand.acknowledged


def test_a_server_that_waits_for_room_can_be_stopped(stand: Stand) -> None:
    for n in range(90):
        stand.enqueue(n)
    leases = stand.lease(90)
    stand.disk.occupy_all("other")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for lease in leases:
            pool.submit(stand.door.complete, lease, text_of(MIB))
        stand.says("The reserve is used up")
        status = stand.server.stop()

    assert status == 1


def test_a_server_starts_on_a_full_disk_and_frees_pages(stand: Stand) -> None:
    fill(stand)
    stand.server.stop()
    stand.disk.occupy_all("other")
    stand.server.restart()
    with grpc.insecure_channel(stand.server.target) as channel:
        stand.door = Door(channel, "acme")
        assert stand.enqueue(10) == "DISK_FULL"
        assert stand.complete_all() > 0
        assert stand.kept() == stand.acknowledged
        assert stand.server.stop() == 0


def test_the_directory_is_undamaged_and_has_its_reserve_again(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    data = stand.disk.path / "data"
    fill(stand)
    stand.disk.occupy_all("other")
    stand.complete_all()
    stand.disk.give_back("other")
    stand.has_room_again()
    stand.server.stop()
    status = run(["check", "--json", str(data)])

    assert (status, json.loads(capsys.readouterr().out)["damage"]) == (0, [])
    assert (data / RESERVE).exists()
