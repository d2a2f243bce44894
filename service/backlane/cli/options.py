"""Owns how options are described, and groups of options that several commands share.

A group is a dataclass, such as `Place`. A command takes it as one parameter, and `spread` makes an
option of each of its fields.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import typing
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

R = TypeVar("R")
TARGET_DEFAULT: Final = "127.0.0.1:7433"
TENANT_DEFAULT: Final = "default"


def option(
    flag: str,
    meaning: str,
    *,
    default: str | None = "none",
    variable: str | None = None,
    **others: Any,  # noqa: ANN401  # typer's own, such as metavar
) -> Any:  # noqa: ANN401  # typer reads it from an annotation
    """Describe an option. Its help has the meaning, the environment variable and the default.

    Args:
        flag: the option as it is typed, such as `--limit`.
        meaning: what the option does, with its unit.
        default: the default in words; None leaves it out of the help.
        variable: the environment variable that sets the option.
        others: further arguments of typer.Option.
    """
    facts = [variable] if variable else []
    facts += [f"default {default}"] if default else []
    return typer.Option(
        flag,
        help=f"{meaning} ({'; '.join(facts)})" if facts else meaning,
        envvar=variable,
        show_envvar=False,
        show_default=False,
        **others,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The server and the tenant that a command is about."""

    target: Annotated[
        str,
        option(
            "--target",
            "The server's address.",
            default=TARGET_DEFAULT,
            variable="BACKLANE_TARGET",
            metavar="HOST:PORT",
        ),
    ] = TARGET_DEFAULT
    tenant: Annotated[
        str,
        option(
            "--tenant",
            "The tenant whose executions the command is about.",
            default=TENANT_DEFAULT,
            variable="BACKLANE_TENANT",
            metavar="TENANT",
        ),
    ] = TENANT_DEFAULT

    @property
    def flags(self) -> str:
        """The options that a suggested command needs to reach the same server and tenant."""
        flags = ""
        if self.target != (os.environ.get("BACKLANE_TARGET") or TARGET_DEFAULT):
            flags += f" --target {self.target}"
        if self.tenant != (os.environ.get("BACKLANE_TENANT") or TENANT_DEFAULT):
            flags += f" --tenant {self.tenant}"
        return flags


ExecutionId = Annotated[
    str, typer.Argument(metavar="ID", show_default=False, help="The execution's id.")
]
AsJson = Annotated[bool, option("--json", "Print JSON, one record per line.", default="no")]
"""The option of every command that prints records."""


def spread(command: Callable[..., R]) -> Callable[..., R]:
    """Replace each parameter of a command that is a dataclass by one option per field."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if dataclasses.is_dataclass(parameter.annotation)
    }

    @functools.wraps(command)
    def spread_out(**given: Any) -> R:  # noqa: ANN401  # whatever the options hold
        for name, group in groups.items():
            fields = [field.name for field in dataclasses.fields(group)]
            given[name] = group(**{field: given.pop(field) for field in fields})
        return command(**given)

    parameters = [
        part for name in signature.parameters for part in _parts(signature.parameters[name])
    ]
    shown = signature.replace(parameters=parameters)
    spread_out.__signature__ = shown  # type: ignore[attr-defined]
    spread_out.__annotations__ = {part.name: part.annotation for part in parameters}
    return spread_out


def _parts(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """Yield the parameter, or if it is a dataclass, one parameter per field."""
    group = parameter.annotation
    if not dataclasses.is_dataclass(group):
        yield parameter
        return
    hints = typing.get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        yield parameter.replace(
            name=field.name, annotation=hints[field.name], default=field.default
        )
