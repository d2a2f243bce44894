"""`python -m tests.disk`: what a server does while its disk fills at several rates. Needs root."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.machine import describe_machine
from tests.disk.load import LOADS, Load, Outcome, fill
from tests.disk.small import small_disk
from tests.disk.stand import DISK_BYTES, stand_on

COLUMNS = (
    "load", "MB/s reached", "enqueued", "calls refused: DISK_FULL", "completed",
    "of these, while full", "other answers", "lost",
    "s until an enqueue after space came back", "exit status",
)  # fmt: skip
WIDTH = 120


def show(load: Load) -> Outcome:
    """Run one load on a disk of its own."""
    with tempfile.TemporaryDirectory(prefix="backlane-disk-") as folder:
        place = Path(folder)
        with small_disk(place, DISK_BYTES) as disk, stand_on(disk, place / "log") as stand:
            return fill(stand, load)


def row(load: Load, outcome: Outcome) -> tuple[str, ...]:
    """Return the cells of one load."""
    return (
        load.name,
        f"{outcome.mb_per_s:.1f}",
        str(outcome.enqueued),
        str(outcome.refused),
        str(outcome.completed),
        str(outcome.completed_while_full),
        ", ".join(sorted(outcome.other_answers)) or "none",
        str(len(outcome.lost)),
        f"{outcome.back_s:.2f}",
        str(outcome.exit_status),
    )


def main() -> None:
    """Run all loads, and print a table."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for name, value in describe_machine().items():
        console.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)
    table = Table(*COLUMNS)
    for load in LOADS:
        table.add_row(*row(load, show(load)))
    console.print(table)


if __name__ == "__main__":
    main()
