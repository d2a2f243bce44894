"""Owns the command `backlane` itself: lists its commands, and imports only the one that is run."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMANDS: Final[Mapping[str, str]] = {
    "serve": "Run the server.",
    "demo": "Watch executions go through a server and its workers.",
    "bench": "Measure a server.",
}
"""Each command and its line in the help; `backlane.cli.<name>.command` is its function."""


def main() -> None:
    """Run the command that the process's arguments name."""
    make_app(sys.argv[1:])()


def make_app(arguments: Sequence[str]) -> typer.Typer:
    """Make the command for these arguments; commands they do not name are listed, not imported."""
    app = typer.Typer(no_args_is_help=True, add_completion=False)
    app.callback()(_options)
    # No option before the command takes a value, so that the first bare word is the command.
    asked = next((word for word in arguments if not word.startswith("-")), None)
    for name, line in COMMANDS.items():
        if name == asked:
            command = importlib.import_module(f"backlane.cli.{name}").command
            app.command(name, short_help=line)(command)
        else:
            app.command(name, help=line)(_not_asked_for)
    return app


def _not_asked_for() -> None:
    """Stand in for a command in the list of commands."""


def _show_version(is_asked: bool) -> None:  # noqa: FBT001  # typer passes it by position
    if is_asked:
        from importlib.metadata import version  # noqa: PLC0415  # --help does without

        typer.echo(f"backlane {version('backlane')}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Backlane: durable background executions over gRPC."""
    del version
