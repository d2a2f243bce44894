"""The floors of the house: who may depend on whom, in Rust and in Python."""

import ast
import graphlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import backlane

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "service" / "backlane"

CRATES_BELOW = {
    "backlane-engine": set[str](),
    "backlane-store": set[str](),
    "backlane-wire": {"backlane-engine"},
    "backlane-runtime": {"backlane-engine", "backlane-store", "backlane-wire"},
    "backlane-python": {"backlane-runtime"},
    "backlane-sim": {"backlane-engine", "backlane-runtime", "backlane-store", "backlane-wire"},
}

# Crates that compute and do nothing else; the engine replays because it rests on no others.
# The second line is compiled into the compiler by thiserror and never into the engine.
PURE_CRATES = {
    # Jitter is seeded by a hash that stays the same over versions.
    "siphasher",
    "thiserror",
    "thiserror-impl", "proc-macro2", "quote", "syn", "unicode-ident",
}  # fmt: skip

# The SDK's halves and delivery see the service as a stranger would: through the contract.
CONTRACT = {"channel", "errors", "schema", "v1"}
MODULES_BELOW = {
    "schema": {"v1"},
    "errors": {"schema", "v1"},
    "channel": {"errors"},
    "client": CONTRACT,
    "worker": CONTRACT,
    "delivery": CONTRACT,
    "testing": CONTRACT | {"client", "worker"},
}

PACKAGES = ("schema", "errors", "client", "worker", "server", "testing", "cli")


def dependencies(crate: str, *options: str) -> set[str]:
    """The crates that a crate's normal build depends on, without itself."""
    tree = ["cargo", "tree", "--locked", "--package", crate, "--edges", "normal"]
    shape = ["--prefix", "none", "--format", "{p}", *options]
    run = subprocess.run([*tree, *shape], capture_output=True, check=True, cwd=ROOT, text=True)
    return {line.split()[0] for line in run.stdout.splitlines() if line} - {crate}


def imported_names(tree: ast.Module, package: tuple[str, ...]) -> Iterator[str]:
    """Every dotted name that a module of a package imports, made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def modules_used(path: Path) -> set[str]:
    """The parts of Backlane (client, v1, …) that a source file imports."""
    package = ("backlane", *path.relative_to(PACKAGE).parent.parts)
    names = imported_names(ast.parse(path.read_text(encoding="utf-8")), package)
    parts = [name.split(".") for name in names]
    used = {part[1] for part in parts if part[0] == "backlane" and len(part) > 1}
    # The package's own public names stand for the parts they are at home in.
    return {backlane._HOME_OF.get(name, name).partition(".")[0] for name in used}


def files_used(path: Path, package: str) -> set[str]:
    """The files of a package that one of them imports, for types alone or at run time."""
    files = {file.stem for file in (PACKAGE / package).glob("*.py")} - {"__init__"}
    names = imported_names(ast.parse(path.read_text(encoding="utf-8")), ("backlane", package))
    parts = [name.split(".") for name in names]
    return {part[2] for part in parts if part[:2] == ["backlane", package]} & files


def sources(module: str) -> Iterator[Path]:
    """The source files of one part of Backlane, a package or a single file."""
    yield from (PACKAGE / module).rglob("*.py")
    yield from PACKAGE.glob(f"{module}.py")


@pytest.mark.parametrize("crate", CRATES_BELOW)
def test_a_crate_depends_only_on_the_floors_below_it(crate: str) -> None:
    direct = {name for name in dependencies(crate, "--depth", "1") if name.startswith("backlane-")}

    assert direct <= CRATES_BELOW[crate]


def test_the_engine_depends_on_pure_crates_only() -> None:
    assert dependencies("backlane-engine") <= PURE_CRATES


@pytest.mark.parametrize("crate", ["backlane-engine", "backlane-store", "backlane-runtime"])
def test_only_the_bindings_know_python(crate: str) -> None:
    assert "pyo3" not in dependencies(crate)


@pytest.mark.parametrize("module", MODULES_BELOW)
def test_a_package_outside_the_server_knows_only_the_contract(module: str) -> None:
    allowed = MODULES_BELOW[module] | {module, "__version__"}
    strays = {
        str(path.relative_to(PACKAGE)): extra
        for path in sources(module)
        if (extra := modules_used(path) - allowed)
    }

    assert strays == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_files_of_a_package_import_each_other_in_a_circle(package: str) -> None:
    files = (PACKAGE / package).glob("*.py")
    used = {path.stem: files_used(path, package) for path in files}

    assert list(graphlib.TopologicalSorter(used).static_order())


def test_only_the_server_touches_the_core() -> None:
    touching = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if "_core" in modules_used(path)
    }

    assert touching <= {"server"}
