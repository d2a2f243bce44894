"""Owns `backlane backup`: copies a data directory while a server uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import option
from backlane.cli.trouble import Trouble

EXITS = (Exit.OK, Exit.USAGE, Exit.DAMAGED)

_DATA = Path("./backlane-data")


def command(
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", show_default=False, help="The new directory.")
    ],
    *,
    data: Annotated[
        Path,
        option(
            "--data",
            "The data directory of the server.",
            default=str(_DATA),
            variable="BACKLANE_DATA",
            metavar="DIR",
        ),
    ] = _DATA,
) -> int:
    """Copy the data directory of a server into DEST. The server may be running, and goes on.

    The copy holds everything that the server had acknowledged when the command began. It is
    checked as by `backlane check` before it gets its name. DEST must be empty or not exist.

    To go back to a backup, run `backlane restore DEST DIR` and start a server on DIR.
    """
    from backlane.server import directory as directories

    try:
        copied = directories.backup(data, destination)
    except directories.DamagedError as error:
        raise Trouble(str(error), Exit.DAMAGED) from error
    except directories.DirectoryError as error:
        raise Trouble(str(error), Exit.USAGE) from error
    typer.echo(f"{copied.facts} facts and {copied.rows} rows were copied to {destination}")
    return Exit.OK
