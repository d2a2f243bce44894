"""Takes one mend after another out of the core and asks whether the simulator notices.

    python -m tests.mutants            every mend
    python -m tests.mutants NAME ...   the named ones

Each mend is undone in a copy of the sources, which is compiled and run over a few seeds. The exit
status is 1 if the simulator finds nothing wrong without a mend, or something wrong with all of
them. The first run compiles the core; each further mend takes half a minute or so.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
PLACE: Final = ROOT / "target" / "mutants"
SEEDS: Final = "0..200"


class Mutant(NamedTuple):
    """A mend that is taken out: in this file, `find` becomes `replace`."""

    name: str
    file: str
    find: str
    replace: str


MUTANTS: Final = (
    Mutant(
        "deadlines-compare-with-logged-time",
        "core_rs/engine/src/decide/tick.rs",
        "instant.is_some_and(|instant| instant <= now.wall_ms)",
        "instant.is_some_and(|instant| instant <= self.at_ms(now))",
    ),
    Mutant(
        "a-restart-trusts-the-wall-clock-for-backoffs",
        "core_rs/engine/src/soft.rs",
        "now.mono_end(until_ms, delay_ms)",
        "now.mono_end(until_ms, u64::MAX)",
    ),
)


def copy_sources() -> Path:
    """Copy what the core is compiled from, and return the folder of the copy."""
    tree = PLACE / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in ("Cargo.toml", "Cargo.lock", "LICENSE"):
        shutil.copy2(ROOT / name, tree / name)
    for name in ("core_rs", "proto", "tests/conformance/scenarios"):
        shutil.copytree(ROOT / name, tree / name)
    return tree


def holds(tree: Path) -> bool:
    """Whether the simulator finds nothing wrong with the sources in a folder.

    Raises:
        RuntimeError: the sources do not compile.
    """
    env = os.environ | {"CARGO_TARGET_DIR": str(PLACE / "target")}
    build = ["cargo", "build", "--quiet", "--release", "--locked", "--package", "backlane-sim"]
    if subprocess.run(build, cwd=tree, env=env, check=False).returncode != 0:
        raise RuntimeError("the sources do not compile")
    simulate = [str(PLACE / "target" / "release" / "backlane-sim"), "--seeds", SEEDS]
    return subprocess.run(simulate, capture_output=True, check=False).returncode == 0


def main(names: list[str]) -> int:
    """Try the named mutants, or all, and return the exit status."""
    tree = copy_sources()
    if not holds(tree):
        print("the simulator finds something wrong although every mend is in place")
        return 1
    survivors = 0
    for mutant in (one for one in MUTANTS if not names or one.name in names):
        path = tree / mutant.file
        source = path.read_text(encoding="utf-8")
        path.write_text(source.replace(mutant.find, mutant.replace), encoding="utf-8")
        found = not holds(tree)
        path.write_text(source, encoding="utf-8")
        survivors += not found
        print(f"{'found ' if found else 'MISSED'} {mutant.name}", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
