"""Owns how an input is read: from the command line, a file or stdin.

A command does not know the type that a callable takes. So INPUT is sent unchanged, as the JSON or
the text that it is, unless `--text` says that it is a string whatever it looks like.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from backlane.cli.options import option
from backlane.schema.options import ABSENT, RawInput

if TYPE_CHECKING:
    from backlane.schema.options import Absent

_HINT: Final = "INPUT"

CallableName = Annotated[
    str, typer.Argument(metavar="CALLABLE", show_default=False, help="The callable's name.")
]
Input = Annotated[
    str | None,
    typer.Argument(
        metavar="[INPUT]",
        show_default=False,
        help="The input, sent unchanged: JSON, or a text that is not JSON, such as Ada, for a "
        "callable that takes a string. A text that could be JSON, such as 123 or true, needs "
        "--text. @FILE reads a file, and - reads stdin, also for a text that begins with @. "
        "(default none)",
    ),
]
AsText = Annotated[
    bool,
    option("--text", "Send INPUT as a string, whatever it looks like.", default="no"),
]


def read_input(given: str | None, *, as_text: bool = False) -> str | Absent:
    """Return the input that an argument stands for: a `RawInput`, or a string to be encoded.

    Raises:
        typer.BadParameter: it is not UTF-8, the file cannot be read, or there is no text.
    """
    if given is None:
        if as_text:
            raise typer.BadParameter("it needs an INPUT", param_hint="--text")
        return ABSENT
    text = _read(given)
    return text if as_text else RawInput(text)


def hint_of_text(given: str | Absent) -> str:
    """Return a hint for an input that its callable refused; empty if it would not help."""
    if not isinstance(given, RawInput):
        return ""
    try:
        is_other = not isinstance(json.loads(given), str)
    except ValueError:
        return ""
    return "; if INPUT is meant as a string, add --text" if is_other else ""


def _read(given: str) -> str:
    if given == "-":
        return _decoded(sys.stdin.buffer.read(), "stdin")
    if given == "@":
        raise typer.BadParameter("@ needs the name of a file, as in @input.json", param_hint=_HINT)
    if given.startswith("@"):
        return _decoded(_file(given[1:]), given[1:])
    # Bytes that are not UTF-8 arrive as surrogates.
    return _decoded(given.encode("utf-8", "surrogateescape"), "it")


def _file(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise typer.BadParameter(
            f"{name!r} cannot be read: {error.strerror}", param_hint=_HINT
        ) from None


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"{name} is not UTF-8: {error.reason} at byte {error.start}", param_hint=_HINT
        ) from None
