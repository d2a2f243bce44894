"""Owns what the demo shows while it runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from rich.table import Table

PLAIN_STEP_PERCENT: Final = 10


class Narrator:
    """Prints what happens, and shows the progress of a stage. A context manager."""

    def __init__(self, console: Console | None = None) -> None:
        """Print to a console, stdout by default."""
        self._console = console if console is not None else Console(highlight=False)
        columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(
            *columns,
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", visible=False)
        self._stage = ""
        self._total = 0
        self._percent_said = 0

    def __enter__(self) -> Self:
        """Start the progress bar."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the progress bar."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def begin(self, stage: str, total: int) -> None:
        """Begin a stage with that many steps."""
        self._stage, self._total, self._percent_said = stage, total, 0
        self._progress.reset(self._task, total=total, description=stage, visible=True)

    def advance_to(self, done: int) -> None:
        """Show how many steps of the stage are done."""
        self._progress.update(self._task, completed=done)
        percent = 100 * done // max(1, self._total)
        if percent >= self._percent_said + PLAIN_STEP_PERCENT:
            self._percent_said = percent - percent % PLAIN_STEP_PERCENT
            if not self._console.is_terminal:
                self.say(f"{self._stage}: {done} of {self._total}")

    def end(self) -> None:
        """Remove the bar of the stage."""
        self._progress.update(self._task, visible=False)

    def show(self, table: Table) -> None:
        """Print a table."""
        self._console.print(table)
