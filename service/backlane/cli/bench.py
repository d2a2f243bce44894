"""Owns `backlane bench`: finds the checkout's benchmark and runs it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from backlane.cli.options import option

BENCHMARK: Final = Path("tests", "benchmarks", "main.py")


def command(
    *,
    workload: Annotated[
        list[str] | None,
        option(
            "--workload",
            "unary, batch, lifecycles, pickup, deep or sdk; may be repeated.",
            default="all",
            metavar="NAME",
        ),
    ] = None,
    quick: Annotated[
        bool, option("--quick", "Small counts, to see that it runs.", default="no")
    ] = False,
    as_json: Annotated[bool, option("--json", "Print one JSON object.", default="no")] = False,
    profile: Annotated[
        bool,
        option("--profile", "Also print the processor time of each thread.", default="no"),
    ] = False,
    allow_debug: Annotated[
        bool,
        option("--allow-debug", "Measure a core that is no release build.", default="no"),
    ] = False,
) -> None:
    """Measure a server of this machine, with the benchmark of the checkout around this folder.

    Exit status: 0 when every target is met, 1 when one is not, 2 when nothing can be measured.
    """
    checkout = find_checkout(Path.cwd())
    if checkout is None:
        typer.echo("backlane: bench needs a checkout of Backlane; run it from inside one", err=True)
        raise typer.Exit(2)
    sys.path.insert(0, str(checkout))
    benchmark = importlib.import_module("tests.benchmarks.main")
    status = benchmark.main(
        workload or (), quick=quick, as_json=as_json, profile=profile, allow_debug=allow_debug
    )
    raise typer.Exit(status)


def find_checkout(start: Path) -> Path | None:
    """Return the folder that holds the benchmark: this one or the nearest above it."""
    return next((place for place in (start, *start.parents) if (place / BENCHMARK).is_file()), None)
