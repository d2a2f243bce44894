"""Owns `backlane check`: reports the damage in a data directory, and saves what is undamaged."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path  # noqa: TC003  # typer reads it from an annotation
from typing import TYPE_CHECKING, Annotated

import typer

from backlane.cli.exits import Exit
from backlane.cli.folders import path_problem
from backlane.cli.options import option
from backlane.cli.trouble import Trouble, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.server.directory import Findings, Salvage

EXITS = (Exit.OK, Exit.USAGE, Exit.DAMAGED)


def command(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", show_default=False, help="The data directory.")
    ],
    *,
    salvage: Annotated[
        Path | None,
        option(
            "--salvage",
            "Also write what is undamaged into this new directory.",
            metavar="NEW",
        ),
    ] = None,
    as_json: Annotated[
        bool, option("--json", "Print the findings as one JSON object.", default="no")
    ] = False,
) -> int:
    """Check a data directory that no server uses, and report what is damaged.

    Every frame of the log and every row is read, and each damaged frame, fact, row or page is
    printed as one line. Nothing in DIR is changed.

    With --salvage, a new directory is written from everything that is undamaged, and a server can
    use it like any other. NEW must be empty or not exist. Executions about which too much is lost
    end there as failed, with the code DATA_DAMAGED. The exit status tells whether DIR is damaged
    also if NEW was written.
    """
    from backlane.server import directory as directories

    _check_paths(directory, salvage)
    try:
        if salvage is None:
            findings = directories.check(directory)
        else:
            findings = directories.salvage(directory, salvage)
    except directories.DirectoryError as error:
        raise Trouble(str(error), Exit.USAGE) from error
    if as_json:
        typer.echo(json.dumps(asdict(findings)))
    else:
        _print(findings)
        if isinstance(findings, directories.Salvage):
            _print_saved(findings, salvage)
    return Exit.DAMAGED if findings.damage else Exit.OK


def _check_paths(directory: Path, new: Path | None) -> None:
    """Refuse paths that cannot be directories, in clearer words than the system's."""
    for path in filter(None, (directory, new)):
        if problem := path_problem(path):
            raise Trouble(f"cannot use the directory {str(path)!r}: {problem}", Exit.USAGE)
    if not directory.exists():
        raise Trouble(f"there is no directory {str(directory)!r}", Exit.USAGE)


def _print(findings: Findings) -> None:
    for line in findings.damage:
        typer.echo(printable(line))
    read = f"{findings.frames} frames with {findings.facts} facts and {findings.rows} rows"
    if findings.damage:
        typer.echo(f"{_lines(len(findings.damage))} of damage; {read} can be read")
    else:
        typer.echo(f"no damage: {read}")


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _print_saved(saved: Salvage, new: Path | None) -> None:
    for line in _fates(saved):
        typer.echo(line)
    typer.echo(f"{saved.rows} rows and {saved.living} living executions were saved to {new}")


def _fates(saved: Salvage) -> Iterator[str]:
    """Yield one line for each execution that is not what it was."""
    for execution_id in saved.failed:
        yield f"{execution_id}: ended as failed, because its end or its state is lost"
    for execution_id in saved.uncertain:
        yield f"{execution_id}: may run a second time, because facts about it may be lost"
    for execution_id in saved.without_payload:
        yield f"{execution_id}: ends as failed when it is leased, because its payload is lost"
