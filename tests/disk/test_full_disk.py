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
from tests.conformance.door import MIB, Door, text_of
from tests.disk.small import SmallDisk, small_disk
from tests.disk.stand import BALLAST, DISK_BYTES, Stand, stand_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.needs_root, pytest.mark.slow, pytest.mark.timeout(300)]

BALLAST_BYTES: Final = 110 * MIB

BATCH_ITEMS: Final = 15
AT_ONCE: Final = 20
"""Calls of 1 MiB at once, fewer than the server refuses."""

RESERVE: Final = "reserve"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, DISK_BYTES) as disk:
        disk.occupy(BALLAST, BALLAST_BYTES)
        yield disk


@pytest.fixture
def stand(disk: SmallDisk, tmp_path: Path) -> Iterator[Stand]:
    with stand_on(disk, tmp_path / "log") as stand:
        yield stand


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
