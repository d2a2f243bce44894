"""Owns `backlane serve`: its options, which are the fields of the configuration."""

from __future__ import annotations

import logging
import os
import sys
from datetime import timedelta
from typing import Annotated

import typer

from backlane.cli.folders import path_problem
from backlane.config import (
    LIMITS,
    Config,
    ConfigError,
    duration_text,
    env_name,
    flag_name,
    load_config,
)


def _option(field: str, metavar: str | None = None) -> object:
    """Make the option of a field from the field's description.

    The option's value stays text: `load_config` reads it, and reports all problems at once.
    """
    about = Config.model_fields[field]
    help_text = f"{about.description} ({env_name(field)}; default {_default(field)})"
    if field == "limits":
        help_text += " " + _limits_help()
    if metavar is None:
        return typer.Option(flag_name(field), help=help_text)
    return typer.Option(flag_name(field), metavar=metavar, help=help_text)


def _default(field: str) -> str:
    default = Config.model_fields[field].get_default(call_default_factory=True)
    if isinstance(default, timedelta):
        return duration_text(default)
    if isinstance(default, bool):
        return "no"
    return str(default) if default else "none"


def _limits_help() -> str:
    return " ".join(
        f"{name}, default {limit.default}: {limit.meaning}." for name, limit in LIMITS.items()
    )


def command(  # noqa: PLR0913  # one parameter for each setting
    *,
    data: Annotated[str | None, _option("data", "DIR")] = None,
    memory: Annotated[bool | None, _option("memory")] = None,
    listen: Annotated[str | None, _option("listen", "HOST:PORT")] = None,
    limit: Annotated[list[str] | None, _option("limits", "NAME=NUMBER")] = None,
    retention: Annotated[str | None, _option("retention", "DURATION")] = None,
    max_streams: Annotated[str | None, _option("max_streams", "NUMBER")] = None,
    max_in_flight: Annotated[str | None, _option("max_in_flight", "NUMBER")] = None,
    drain_grace: Annotated[str | None, _option("drain_grace", "DURATION")] = None,
    log_level: Annotated[str | None, _option("log_level", "LEVEL")] = None,
    accept_loss: Annotated[bool | None, _option("accept_loss")] = None,
    test_clock: Annotated[str | None, _option("test_clock", "DURATION")] = None,
) -> None:
    """Run the server until SIGTERM or SIGINT.

    The server prints one line when it is ready for calls. When it is told to stop, it first lets
    open calls finish. Exit status: 0 stopped as asked; 1 the store failed; 2 a setting, the
    address or the data cannot be used.
    """
    flags = {
        "data": data,
        "memory": memory,
        "listen": listen,
        "limits": limit or None,
        "retention": retention,
        "max_streams": max_streams,
        "max_in_flight": max_in_flight,
        "drain_grace": drain_grace,
        "log_level": log_level,
        "accept_loss": accept_loss,
        "test_clock": test_clock,
    }
    try:
        config = load_config(flags, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(f"backlane: {problem}", err=True)
        raise typer.Exit(2) from None
    if config.store is not None and (why := path_problem(config.store)):
        typer.echo(f"backlane: cannot use the data directory {config.data!r}: {why}", err=True)
        raise typer.Exit(2)
    logging.basicConfig(
        stream=sys.stderr,
        level=config.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    from backlane.server.app import run  # slow to import, and not needed to check the settings

    raise typer.Exit(run(config))
