"""Owns how expected problems are reported: one line on stderr that says what to do next."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from backlane.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator


class Trouble(Exception):  # noqa: N818  # a problem of the user's, not an error of the code
    """The command cannot do what it was asked to.

    Attributes:
        line: what is wrong and what to do next.
        status: the exit status.
    """

    def __init__(self, line: str, status: Exit) -> None:
        """Make it of its line and its exit status."""
        super().__init__(line)
        self.line = line
        self.status = status


@contextmanager
def written(otherwise: str) -> Iterator[None]:
    """Print a result in the block. The command has taken effect even if printing fails.

    Raises:
        Trouble: the result could not be written; `otherwise` is appended to its line.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        line = f"the output cannot be written: {error.strerror}; {otherwise}"
        raise Trouble(line, Exit.UNWRITTEN) from error


def say(line: str) -> None:
    """Print a message as one line on stderr, whatever characters it holds."""
    typer.echo(f"backlane: {printable(' '.join(line.split()))}", err=True)


def printable(text: str) -> str:
    """Escape control characters: a text may come from anybody, and must not act on a terminal."""
    if text.isprintable():
        return text
    return "".join(
        part if part.isprintable() or part in "\n\t" else repr(part)[1:-1] for part in text
    )
