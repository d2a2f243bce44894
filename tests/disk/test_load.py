"""A disk that fills at several rates under a mixed load; `python -m tests.disk` shows figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.disk.load import AFTERWARDS, LOADS, WHILE_FULL, Load, fill
from tests.disk.small import small_disk
from tests.disk.stand import DISK_BYTES, stand_on

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.needs_root
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_a_disk_that_fills_under_a_mixed_load_refuses_enqueues_alone_and_takes_them_again(
    tmp_path: Path, load: Load
) -> None:
    with small_disk(tmp_path, DISK_BYTES) as disk, stand_on(disk, tmp_path / "log") as stand:
        outcome = fill(stand, load)

    assert (outcome.lost, outcome.exit_status) == (frozenset(), 0)
    assert outcome.other_answers <= {"RATE_LIMITED"}
    assert outcome.refused >= WHILE_FULL
    assert outcome.completed_while_full >= WHILE_FULL
    assert outcome.enqueued >= AFTERWARDS * load.items
