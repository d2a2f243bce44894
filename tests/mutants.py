"""Takes one mend after another out of the core and asks whether the simulator notices.

    python -m tests.mutants            every mend
    python -m tests.mutants NAME ...   the named ones

Each mend is undone in a copy of the sources, which is compiled and run over a few seeds. A mend
that the simulator cannot miss, because it has no files, is tried with the test of a crate that its
mutant names. The exit status is 1 if nothing is found wrong without one of the mends, or something
is with all of them. The first run compiles the core; each further mend takes a quarter of a minute.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
PLACE: Final = ROOT / "target" / "mutants"
TARGET: Final = PLACE / "target"
"""A folder of its own: what is compiled without a mend must never get into another build."""

SEEDS: Final = "0..200"


class Change(NamedTuple):
    """A change of the sources: in this file, `find` becomes `replace`."""

    file: str
    find: str
    replace: str


class Mutant(NamedTuple):
    """A mend that is taken out by some changes.

    Attributes:
        name: what goes wrong without the mend, or what is missing.
        changes: the changes, each of one place.
        test: where the simulator cannot find it, the arguments of the `cargo test` that does.
    """

    name: str
    changes: tuple[Change, ...]
    test: tuple[str, ...] = ()


MUTANTS: Final = (
    Mutant(
        "a-read-that-races-an-eviction-denies-an-execution",
        (
            Change(
                "core_rs/runtime/src/shard/show.rs",
                "            one.fill(&found);\n",
                """            if matches!(one.ending, Piece::Read(_)) {
                let (birth, key) = (one.birth, Key::Number(one.birth));
                one.ending = Piece::of(&room.desk, &ENDING, key, |it| read_ending(birth, it));
            }
            one.fill(&found);
""",
            ),
        ),
    ),
    Mutant(
        "rows-leave-memory-before-they-are-on-disk",
        (
            Change(
                "core_rs/runtime/src/shard/cache.rs",
                ".filter(|(sequence, _)| *sequence < durable)",
                ".filter(|(sequence, _)| *sequence < durable + 8)",
            ),
        ),
    ),
    Mutant(
        "what-is-decided-and-not-written-does-not-count-as-used-disk",
        (
            Change(
                "core_rs/runtime/src/shard/rows.rs",
                "self.journal.unwritten().saturating_mul(2)",
                "self.journal.unwritten().saturating_mul(0)",
            ),
        ),
    ),
    Mutant(
        "the-disk-is-looked-at-every-256-commits-only",
        (
            Change(
                "core_rs/runtime/src/keeper.rs",
                "        self.look()?;\n        self.around.tell(Input::Committed(",
                "        self.around.tell(Input::Committed(",
            ),
        ),
    ),
    Mutant(
        "a-full-disk-ends-the-server",
        (
            Change(
                "core_rs/runtime/src/keeper.rs",
                "Err(full @ StoreError::Full { .. }) => return self.no_room(full),",
                "Err(full @ StoreError::Full { .. }) => return Err(full),",
            ),
        ),
    ),
    Mutant(
        "a-full-disk-refuses-nothing",
        (
            Change(
                "core_rs/engine/src/decide/enqueue.rs",
                "return Err((0, Refusal::DiskFull));",
                "let _ = Refusal::DiskFull;",
            ),
        ),
    ),
    Mutant(
        "what-the-database-will-grow-by-counts-as-room",
        (
            Change(
                "core_rs/store/src/sqlite/reserve.rs",
                "self.wanted + KEPT_FREE_BYTES + growth;",
                "self.wanted + KEPT_FREE_BYTES + growth.min(0);",
            ),
        ),
        # The simulator's disk has no write-ahead log.
        test=("--package", "backlane-store", "--lib", "reserve"),
    ),
    Mutant(
        "a-commit-counts-as-durable-before-it-is-synced",
        (
            Change(
                "core_rs/store/src/sqlite/connection.rs",
                '    c.pragma_update(None, "synchronous", "FULL")?;',
                '    c.pragma_update(None, "synchronous", "OFF")?;',
            ),
        ),
        # The simulator's disk has no file.
        test=("--package", "backlane-store", "--test", "contract", "each_commit_is_synced"),
    ),
    Mutant(
        "deadlines-compare-with-logged-time",
        (
            Change(
                "core_rs/engine/src/decide/tick.rs",
                "instant.is_some_and(|instant| instant <= now.wall_ms)",
                "instant.is_some_and(|instant| instant <= self.at_ms(now))",
            ),
        ),
    ),
    Mutant(
        "a-restart-trusts-the-wall-clock-for-backoffs",
        (
            Change(
                "core_rs/engine/src/soft.rs",
                "now.mono_end(until_ms, delay_ms)",
                "now.mono_end(until_ms, u64::MAX)",
            ),
        ),
    ),
    Mutant(
        "offers-share-one-virtual-time",
        (
            Change(
                "core_rs/engine/src/soft/fair.rs",
                "    served_us: u64,\n    //",
                "    pub(crate) served_us: u64,\n    //",
            ),
            Change(
                "core_rs/engine/src/soft/fair.rs",
                "first.map_or(self.served_us, |(pass_us, _)| *pass_us)",
                "first.map_or(self.served_us, |_| self.served_us)",
            ),
            Change(
                "core_rs/engine/src/soft/offers.rs",
                "        self.by_key.get_mut(&key).map(|offer| &mut offer.shares)\n",
                """        let served = self.by_key.values().map(|offer| offer.shares.served_us);
        let newest_us = served.max().unwrap_or(0);
        for offer in self.by_key.values_mut() {
            offer.shares.served_us = newest_us;
        }
        self.by_key.get_mut(&key).map(|offer| &mut offer.shares)
""",
            ),
        ),
    ),
    Mutant(
        "a-worker-that-gives-back-what-it-leases-has-each-look-pass-over-it",
        (
            Change(
                "core_rs/engine/src/soft/pauses.rs",
                "pauses.is_some_and(|pauses| *pauses >= MAX_PAUSES)",
                "pauses.is_some_and(|pauses| *pauses >= MAX_PAUSES * 1_000)",
            ),
        ),
    ),
    Mutant(
        "a-redrive-takes-a-step-again-that-is-done",
        (
            Change(
                "core_rs/wire/src/carry.rs",
                "step.state() == v1::StepState::Completed",
                "step.state() == v1::StepState::Completed && step.input.is_some()",
            ),
        ),
    ),
)


def copy_sources() -> Path:
    """Copy what the core is compiled from, and return the folder of the copy.

    Files keep their time, so that only what changed is compiled again. Those that an earlier run
    compiled without a mend count as changed.
    """
    tree = PLACE / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in ("Cargo.toml", "Cargo.lock", "LICENSE"):
        shutil.copy2(ROOT / name, tree / name)
    for name in ("core_rs", "proto", "tests/conformance/scenarios"):
        shutil.copytree(ROOT / name, tree / name)
    for mutant in MUTANTS:
        for change in mutant.changes:
            (tree / change.file).touch()
    return tree


def cargo(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run cargo on the sources in a folder."""
    env = os.environ | {"CARGO_TARGET_DIR": str(TARGET)}
    command = ["cargo", *arguments[:1], "--quiet", "--locked", *arguments[1:]]
    return subprocess.run(
        command, cwd=tree, env=env, check=False, stdout=subprocess.PIPE, text=True
    )


def simulate(tree: Path) -> str:
    """What the simulator finds wrong with the sources in a folder; an empty text for nothing.

    Raises:
        RuntimeError: the sources do not compile.
    """
    # Not optimized: a run is short, and most of the time goes into compiling.
    if cargo(tree, "build", "--package", "backlane-sim").returncode != 0:
        raise RuntimeError("the sources do not compile")
    command = [str(TARGET / "debug" / "backlane-sim"), "--seeds", SEEDS]
    run = subprocess.run(command, capture_output=True, check=False, text=True)
    return "" if run.returncode == 0 else in_short(run.stderr)


def in_short(report: str) -> str:
    """The seed and the violated invariant in the report of a failed run, or how else it ended."""
    found = re.match(r"(seed \d+, step \d+)\n([^:\n]*)", report)
    return f"{found[2]} ({found[1]})" if found else "the simulator itself ended"


def ask(tree: Path, mutant: Mutant) -> str:
    """What is found wrong with the sources in a folder, without the mend of a mutant."""
    if not mutant.test:
        return simulate(tree)
    if cargo(tree, "test", "--no-run", *mutant.test).returncode != 0:
        raise RuntimeError("the sources do not compile")
    failed = cargo(tree, "test", *mutant.test).returncode != 0
    return f"cargo test {' '.join(mutant.test)}" if failed else ""


def without(tree: Path, mutant: Mutant) -> str:
    """Undo a mend in a folder, ask what is wrong, and do the mend again."""
    sources = {change.file: "" for change in mutant.changes}
    for file in sources:
        sources[file] = (tree / file).read_text(encoding="utf-8")
    for change in mutant.changes:
        path = tree / change.file
        changed = path.read_text(encoding="utf-8").replace(change.find, change.replace)
        path.write_text(changed, encoding="utf-8")
    found = ask(tree, mutant)
    for file, source in sources.items():
        (tree / file).write_text(source, encoding="utf-8")
    return found


def main(names: list[str]) -> int:
    """Try the named mutants, or all, and return the exit status."""
    tree = copy_sources()
    if wrong := simulate(tree):
        print(f"although every mend is in place: {wrong}")
        return 1
    survivors = 0
    for mutant in (one for one in MUTANTS if not names or one.name in names):
        found = without(tree, mutant)
        survivors += not found
        print(f"{'found ' if found else 'MISSED'} {mutant.name}: {found}", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
