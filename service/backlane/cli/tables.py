"""Owns how rows and records are laid out: with rich on a terminal, else as aligned text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import typer

from backlane.cli.trouble import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_STYLES: Final = {
    "queued": "yellow",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "timeout": "red",
    "cancelled": "magenta",
}
"""How a status looks on a terminal."""
GAP: Final = "  "
LAST_WIDTH_MIN: Final = 12

Fields = list[tuple[str, str]]
"""A record for people: labels and texts, a text of one or more lines."""


def is_terminal() -> bool:
    """Tell whether people look at the output, rather than programs."""
    return sys.stdout.isatty()


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their headings."""
    shown = [[" ".join(printable(cell).split()) for cell in row] for row in rows]
    if is_terminal():
        _print_rich_table(headings, shown)
    else:
        _print_aligned([[heading.upper() for heading in headings], *shown])


def print_fields(fields: Fields) -> None:
    """Print one record, a line for each field, more where its text has more."""
    shown = [(label, printable(text)) for label, text in fields]
    if is_terminal():
        _print_rich_fields(shown)
        return
    width = max(len(label) for label, _ in shown) + 2
    for label, text in shown:
        first, *others = text.split("\n")
        typer.echo(f"{label:{width}}{first}".rstrip())
        for line in others:
            typer.echo(f"{'':{width}}{line}".rstrip())


def _print_aligned(rows: Sequence[Sequence[str]]) -> None:
    widths = _widths(rows)
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)]
        typer.echo(GAP.join(cells).rstrip())


def _print_rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.text import Text

    console = _console()
    widths = _widths([headings, *rows])
    room = max(console.width - sum(width + len(GAP) for width in widths[:-1]), LAST_WIDTH_MIN)
    for number, row in enumerate([headings, *rows]):
        line = Text(style="" if number else "bold")
        for cell, width in zip(row[:-1], widths, strict=False):
            line.append(f"{cell:{width}}{GAP}", style=_STYLES.get(cell, ""))
        # What does not fit is cut from the last cell: an id cut short is no id.
        last = Text(row[-1])
        last.truncate(room, overflow="ellipsis")
        console.print(line.append_text(last), soft_wrap=True)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _print_rich_fields(fields: Fields) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label, text in fields:
        table.add_row(label, Text(text, style=_STYLES.get(text, "")))
    _console().print(table)


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False)
