"""Owns a run of the benchmark: chooses the workloads, checks the build, prints the report."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console

from tests.benchmarks import (
    batch,
    deep,
    lifecycles,
    pickup,
    runs,
    sdk,
    stop,
    suspended,
    unary,
    used_names,
)
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure, Report
from tests.benchmarks.machine import RELEASE, build_profile, describe_machine

WIDTH: Final = 100
EXIT_OK: Final = 0
EXIT_NOT_MET: Final = 1
EXIT_CANNOT_RUN: Final = 2

WORKLOADS: Final[Mapping[str, Callable[[Bench], Iterator[Figure]]]] = {
    "unary": unary.run,
    "batch": batch.run,
    "lifecycles": lifecycles.run,
    "pickup": pickup.run,
    "deep": deep.run,
    "suspended": suspended.run,
    "sdk": sdk.run,
    "runs": runs.run,
    "names": used_names.run,
    "stop": stop.run,
}


def main(
    names: Sequence[str], *, quick: bool, as_json: bool, profile: bool, allow_debug: bool
) -> int:
    """Run workloads and print their report.

    Args:
        names: which ones; none means all.
        quick: small counts, for a smoke test; targets are not judged.
        as_json: print one JSON object at the end instead of tables.
        profile: also print who used the processor.
        allow_debug: run although the core is not a release build.

    Returns:
        The exit status: 1 where a target was missed, 2 where nothing could be measured.
    """
    unknown = sorted(set(names) - set(WORKLOADS))
    if unknown:
        return _refuse(f"no workload {', '.join(unknown)}: choose from {', '.join(WORKLOADS)}")
    if build_profile() != RELEASE and not allow_debug:
        build = f"the core's build is {build_profile()}, not {RELEASE}"
        return _refuse(f"{build}: use --allow-debug to measure it anyway")
    # With --json tables are left out, and stdout holds one object alone.
    console = Console(quiet=as_json, width=None if sys.stdout.isatty() else WIDTH)
    report = _run(names or tuple(WORKLOADS), console, quick=quick, with_cpu=profile)
    if as_json:
        print(report.as_json())
    return EXIT_OK if quick or report.is_met else EXIT_NOT_MET


def _run(names: Sequence[str], console: Console, *, quick: bool, with_cpu: bool) -> Report:
    report = Report(describe_machine(), quick)
    report.print_machine(console)
    for name in names:
        bench = Bench(quick)
        report.figures[name] = list(WORKLOADS[name](bench))
        report.cpu[name] = list(bench.cpu.values())
        report.print_workload(console, name, with_cpu=with_cpu)
    return report


def _refuse(why: str) -> int:
    print(f"backlane: {why}", file=sys.stderr)
    return EXIT_CANNOT_RUN
