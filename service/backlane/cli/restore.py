"""Owns `backlane restore`: makes a data directory from a backup."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads it from an annotation
from typing import Annotated

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import option
from backlane.cli.trouble import Trouble

EXITS = (Exit.OK, Exit.USAGE, Exit.DAMAGED)


def command(
    backup: Annotated[Path, typer.Argument(metavar="SRC", show_default=False, help="The backup.")],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", show_default=False, help="The new data directory.")
    ],
    *,
    accept_loss: Annotated[
        bool,
        option(
            "--accept-loss",
            "Accept a copy that ends earlier than its watermark file says.",
            default="no",
        ),
    ] = False,
) -> int:
    """Make the data directory DIR from the backup SRC, and check it. SRC is not changed.

    DIR must be empty or not exist. A server that is started on DIR goes on from the moment of the
    backup: what was enqueued later is unknown to it, and what ended later runs again.

    Executions that were running at that moment keep their leases for one more lease period, and
    their workers may complete them. Lease tokens that were given later are refused, and no new
    token equals one of them. A request_id that was used later is free, so a repeated request
    enqueues again.
    """
    from backlane.server import directory as directories

    try:
        restored = directories.restore(backup, directory, accept_loss=accept_loss)
    except directories.DamagedError as error:
        hint = "" if accept_loss else _HINT
        raise Trouble(f"{error}{hint}", Exit.DAMAGED) from error
    except directories.DirectoryError as error:
        raise Trouble(str(error), Exit.USAGE) from error
    typer.echo(f"{restored.facts} facts and {restored.rows} rows were restored to {directory}")
    return Exit.OK


_HINT = (
    ". If SRC was copied by other means than `backlane backup` while a server used it, its "
    "watermark file may be from a later moment than its database: `--accept-loss` goes on from "
    "where the database ends"
)
