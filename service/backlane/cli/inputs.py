"""Owns how an input is read: from the command line, a file or stdin. It is sent unchanged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

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
        help="The input, sent unchanged: JSON, or plain text for a callable that takes a string. "
        "@FILE reads a file, and - reads stdin, also for a text that begins with @. "
        "(default none)",
    ),
]


def read_input(given: str | None) -> RawInput | Absent:
    """Return the input that an argument stands for.

    Raises:
        typer.BadParameter: it is not UTF-8, or the file cannot be read.
    """
    if given is None:
        return ABSENT
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


def _decoded(content: bytes, name: str) -> RawInput:
    try:
        return RawInput(content.decode())
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"{name} is not UTF-8: {error.reason} at byte {error.start}", param_hint=_HINT
        ) from None
