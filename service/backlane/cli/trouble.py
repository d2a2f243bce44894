"""Owns how expected trouble is told: one line on stderr that says what to do next."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from backlane.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator


class Trouble(Exception):  # noqa: N818  # it is what happens to a user, not an error of the code
    """The command cannot do what was asked.

    Attributes:
        line: what is wrong and what to do next, for people.
        status: the exit status.
    """

    def __init__(self, line: str, status: Exit) -> None:
        """Describe trouble."""
        super().__init__(line)
        self.line = line
        self.status = status


@contextmanager
def written(otherwise: str) -> Iterator[None]:
    """Print a result in the block, which there is however its printing goes.

    Raises:
        Trouble: it could not be written; its line says the rest.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        line = f"the output cannot be written: {error.strerror}; {otherwise}"
        raise Trouble(line, Exit.UNWRITTEN) from error


def say(line: str) -> None:
    """Tell something that is no result: one line on stderr, whatever the text holds."""
    typer.echo(f"backlane: {printable(' '.join(line.split()))}", err=True)


def printable(text: str) -> str:
    """Show control characters instead of letting them act: a text may come from anybody."""
    if text.isprintable():
        return text
    return "".join(
        part if part.isprintable() or part in "\n\t" else repr(part)[1:-1] for part in text
    )
