"""Owns `backlane bench`: finds the benchmark in the checkout and runs it."""

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
            "Only this workload: unary, batch, lifecycles, pickup, deep, suspended, sdk, runs, "
            "names or stop; may be repeated.",
            default="all",
            metavar="NAME",
        ),
    ] = None,
    quick: Annotated[
        bool,
        option(
            "--quick", "Use small counts, to check that the benchmark itself works.", default="no"
        ),
    ] = False,
    as_json: Annotated[
        bool, option("--json", "Print the results as one JSON object.", default="no")
    ] = False,
    profile: Annotated[
        bool,
        option("--profile", "Also print the processor time of each thread.", default="no"),
    ] = False,
    allow_debug: Annotated[
        bool,
        option("--allow-debug", "Measure even if the core is not a release build.", default="no"),
    ] = False,
) -> None:
    """Measure the performance of a server on this machine.

    The benchmark is part of a checkout of Backlane, in which the command has to be run. Exit
    status: 0 every target is met; 1 a target is missed; 2 nothing can be measured.
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
