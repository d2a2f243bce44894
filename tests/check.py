"""Runs every check of the project, and lists the failed ones at the end.

    python tests/check.py            everything, with the environment of `pip install '.[dev]'`
    python tests/check.py --fast     leaves out what takes more than a few seconds
    python tests/check.py --tests    the two test suites alone; needs only `.[suite]`

It uses the environment of the Python that runs it, and stops at no failure: one run shows all
that is wrong. The test suites come last, so that their summaries end the output.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Step:
    """One check: its title and its command."""

    title: str
    command: tuple[str, ...]
    is_test: bool = False
    is_slow: bool = False


STEPS = (
    Step("Rust format", ("cargo", "fmt", "--all", "--check")),
    Step(
        "Rust lints",
        ("cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"),
        is_slow=True,
    ),
    # An editable install, so that the steps below see the sources as they are.
    Step(
        "Extension build", ("maturin", "develop", "--release", "--locked", "--quiet"), is_slow=True
    ),
    Step("Python lints", ("ruff", "check", ".")),
    Step("Python format", ("ruff", "format", "--check", ".")),
    Step("Python types", ("mypy",)),
    Step("Stub of the core", ("stubtest", "backlane._core")),
    Step("Import contracts", ("lint-imports",)),
    Step("Proto lints", ("buf", "lint", "proto")),
    Step(
        "Proto format",
        ("buf", "format", "--diff", "--exit-code", "proto", "--path", "proto/backlane"),
    ),
    Step("Generated code", (sys.executable, "tests/generate.py", "--check")),
    Step(
        "Rust tests",
        ("cargo", "test", "--workspace", "--locked"),
        is_test=True,
        is_slow=True,
    ),
    Step("Python tests", (sys.executable, "-m", "pytest"), is_test=True),
)


def environment() -> Mapping[str, str]:
    """The environment of the steps. The programs of this Python come first on PATH."""
    scripts = str(Path(sys.executable).parent)
    return os.environ | {
        "MYPYPATH": str(ROOT / "service"),
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")]),
        "VIRTUAL_ENV": sys.prefix,
    }


def passes(step: Step) -> bool:
    """Runs one step under its heading."""
    print(f"\n=== {step.title}: {' '.join(step.command)}", flush=True)
    variables = environment()
    program = shutil.which(step.command[0], path=variables["PATH"])
    if program is None:
        print(f"{step.command[0]} is not installed; try: pip install '.[dev]'")
        return False
    command = [program, *step.command[1:]]
    return subprocess.run(command, check=False, cwd=ROOT, env=variables).returncode == 0


def chosen(*, tests_only: bool, fast: bool) -> Iterator[Step]:
    """The steps to run, in order."""
    for step in STEPS:
        if tests_only and not step.is_test:
            continue
        if not (fast and step.is_slow):
            yield step


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Run the project's checks.")
    parser.add_argument("--tests", action="store_true", help="run the test suites only")
    parser.add_argument("--fast", action="store_true", help="leave out the slow steps")
    arguments = parser.parse_args()
    steps = chosen(tests_only=arguments.tests, fast=arguments.fast)
    failed = [step.title for step in steps if not passes(step)]
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
