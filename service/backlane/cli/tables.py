"""Owns how rows and records are laid out: by rich on a terminal, as aligned text elsewhere.

Text for pipes and files is aligned here, without rich: a script needs whole cells and no colours,
and is spared the 20 ms that rich takes to import.
"""

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
"""The colour of a status on a terminal."""
GAP: Final = "  "
LAST_WIDTH_MIN: Final = 12
"""The least room for the last column, on however narrow a terminal."""

Fields = list[tuple[str, str]]
"""A record to show: pairs of a label and a text, which may have several lines."""


def is_terminal() -> bool:
    """Tell whether stdout is a terminal, where a person reads it."""
    return sys.stdout.isatty()


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a line of headings."""
    shown = [[" ".join(printable(cell).split()) for cell in row] for row in rows]
    if is_terminal():
        _print_rich_table(headings, shown)
    else:
        _print_aligned([[heading.upper() for heading in headings], *shown])


def print_fields(fields: Fields) -> None:
    """Print one record, one line for each field; a text of several lines takes as many."""
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
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)]
        typer.echo(GAP.join(cells).rstrip())


def _print_rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    console = _console()
    *whole, _ = zip(headings, *rows, strict=True)
    taken = sum(max(map(cell_len, column)) + len(GAP) for column in whole)
    room = max(console.width - taken, LAST_WIDTH_MIN)
    table = Table(box=None, padding=(0, len(GAP), 0, 0), pad_edge=False, header_style="bold")
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    # A text that does not fit is cut in the last column: an id cut short is no id.
    table.add_column(headings[-1], no_wrap=True, max_width=room)
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    # On a terminal that is too narrow even for the ids, the terminal wraps the lines.
    console.width = taken + room
    console.print(table)


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
