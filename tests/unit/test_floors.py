"""Which crates, packages and files may depend on which others, in Rust and in Python."""

import ast
import graphlib
import subprocess
from collections.abc import Iterator, Mapping
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
# The last two lines are compiled into the compiler by thiserror and strum, never into the engine.
PURE_CRATES = {
    # Jitter is seeded by a hash that stays the same over versions.
    "siphasher",
    # A trait with the list of an enum's variants.
    "strum",
    "thiserror",
    "strum_macros", "heck",
    "thiserror-impl", "proc-macro2", "quote", "syn", "unicode-ident",
}  # fmt: skip

# Both halves of the SDK know the server as any client does: through the contract.
CONTRACT = {"channel", "errors", "schema", "v1"}
PARTS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
MODULES_BELOW = {
    "schema": {"v1"},
    "errors": {"schema", "v1"},
    "channel": {"errors"},
    "sdk": {"errors", "schema", "v1"},
    "client": CONTRACT | {"sdk"},
    "worker": CONTRACT | {"forks", "sdk"},
    "testing": CONTRACT | {"children", "client", "sdk", "worker"},
}


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


def names_in(path: Path) -> Iterator[str]:
    """Every dotted name that a source file imports, those for type checkers included."""
    package = ("backlane", *path.relative_to(PACKAGE).parent.parts)
    return imported_names(ast.parse(path.read_text(encoding="utf-8")), package)


def modules_used(path: Path) -> set[str]:
    """The parts of Backlane (client, v1, …) that a source file imports."""
    parts = [name.split(".") for name in names_in(path)]
    used = {part[1] for part in parts if part[0] == "backlane" and len(part) > 1}
    # The package's own public names stand for the parts they are at home in.
    return {backlane._HOME_OF.get(name, name).partition(".")[0] for name in used}


def sources(module: str) -> Iterator[Path]:
    """The source files of one part of Backlane, a package or a single file."""
    yield from (PACKAGE / module).rglob("*.py")
    yield from PACKAGE.glob(f"{module}.py")


def dotted(path: Path) -> str:
    """The name of the module that a source file is."""
    parts = ("backlane", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def circle(files: Mapping[str, Path]) -> list[str]:
    """A circle of imports among modules, by name; empty if there is none."""
    used = {
        name: {
            # `from a.b import c` imports the module a.b.c if there is one, else a.b.
            imported if imported in files else imported.rpartition(".")[0]
            for imported in names_in(path)
        }
        for name, path in files.items()
    }
    try:
        graphlib.TopologicalSorter(used).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("crate", CRATES_BELOW)
def test_a_crate_depends_only_on_the_floors_below_it(crate: str) -> None:
    direct = {name for name in dependencies(crate, "--depth", "1") if name.startswith("backlane-")}

    assert direct == CRATES_BELOW[crate]


def test_the_engine_depends_on_pure_crates_only() -> None:
    assert dependencies("backlane-engine") == PURE_CRATES


@pytest.mark.parametrize("crate", ["backlane-engine", "backlane-store", "backlane-runtime"])
def test_only_the_bindings_know_python(crate: str) -> None:
    assert "pyo3" not in dependencies(crate)
    assert "pyo3" in dependencies("backlane-python")


def test_the_table_of_what_packages_know_has_all_but_those_that_know_the_rest() -> None:
    assert MODULES_BELOW.keys() | {"cli", "server", "v1"} == {*PARTS, "channel"}


@pytest.mark.parametrize("module", MODULES_BELOW)
def test_a_package_outside_the_server_knows_only_the_contract(module: str) -> None:
    allowed = MODULES_BELOW[module] | {module, "__version__"}
    strays = {
        str(path.relative_to(PACKAGE)): extra
        for path in sources(module)
        if (extra := modules_used(path) - allowed)
    }

    assert strays == {}


def test_only_the_server_touches_the_core() -> None:
    touching = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if "_core" in modules_used(path)
    }

    assert touching == {"server"}


@pytest.mark.parametrize("part", PARTS)
def test_the_files_of_a_package_do_not_import_each_other_in_a_circle(part: str) -> None:
    assert circle({dotted(path): path for path in sources(part)}) == []


def test_a_circle_of_imports_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.unit.test_floors.PACKAGE", tmp_path)
    texts = {
        "a": "from backlane.b import B",
        "b": "if TYPE_CHECKING:\n    from backlane import c",
        "c": "from .a import A",
        "d": "import backlane.a",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    files = {dotted(path): path for path in tmp_path.glob("*.py")}

    found = circle(files)
    assert found[0] == found[-1]
    assert set(found) == {"backlane.a", "backlane.b", "backlane.c"}
    del files["backlane.c"]
    assert circle(files) == []
