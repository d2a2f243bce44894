"""The drawings of the house are true: they have every file, and every use points downward.

A drawing is a table in a README. Each row is a room: its name, its files, and what it is for. The
files of a room use files of the same room and of the rooms below, never of a room above.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from itertools import chain
from pathlib import Path

import pytest

from tests.unit.test_floors import PACKAGE, PARTS, modules_used, sources
from tests.unit.test_rust_files import STRICT, files, used, without_parents

ROOT = Path(__file__).resolve().parents[2]
CORE = (ROOT / "core_rs" / "README.md").read_text(encoding="utf-8")
PYTHON = (PACKAGE / "README.md").read_text(encoding="utf-8")
CRATES = ("engine", "store", "wire", "runtime")

Uses = Mapping[str, AbstractSet[str]]
"""The files that each file uses."""


def rooms(page: str, heading: str) -> list[list[str]]:
    """The files of each room of the drawing under a heading, from the top to the bottom."""
    [(section)] = re.findall(rf"(?ms)^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", page)
    rows = re.findall(r"(?m)^\| [^|`]+ \| (`[^|]+`) \| [^|]+ \|$", section)
    return [re.findall(r"`([^`]+)`", row) for row in rows]


def upward(drawn: list[list[str]], uses: Uses) -> list[str]:
    """The uses that point from a room to a room above it."""
    floor = {file: -depth for depth, room in enumerate(drawn) for file in room}
    return sorted(
        f"{file} uses {other}"
        for file, others in uses.items()
        for other in others
        if floor[other] > floor[file]
    )


def uses_of_crate(crate: str) -> Uses:
    """The uses among the files of a crate, but for its `lib.rs`.

    In crates where files may use their own parents, those uses have no direction.
    """
    graph = used(crate) if crate in STRICT else without_parents(used(crate))
    return {
        "/".join(module): {"/".join(other) for other in others}
        for module, others in graph.items()
        if module
    }


def uses_of_package() -> Uses:
    """The uses among the parts of the Python package: folders and single files."""
    parts = [*PARTS, *(path.stem for path in PACKAGE.glob("*.py"))]
    found = {
        part: {other for path in sources(part) for other in modules_used(path)} for part in parts
    }
    # The core is a compiled module, which uses none of them; the version is the package's own.
    found["_core"] = set()
    return {part: others - {part, "__version__"} for part, others in found.items()}


@pytest.mark.parametrize("crate", CRATES)
def test_the_drawing_of_a_crate_has_each_file_once(crate: str) -> None:
    drawn = rooms(CORE, f"`{crate}`")

    assert sorted(chain(*drawn)) == sorted("/".join(module) for module in files(crate) if module)


@pytest.mark.parametrize("crate", CRATES)
def test_the_files_of_a_crate_use_no_room_above_theirs(crate: str) -> None:
    drawn = rooms(CORE, f"`{crate}`")

    assert upward(drawn, uses_of_crate(crate)) == []


def test_the_drawing_of_the_package_has_each_part_once() -> None:
    drawn = rooms(PYTHON, "Packages")

    assert sorted(chain(*drawn)) == sorted(uses_of_package())


def test_the_parts_of_the_package_use_no_room_above_theirs() -> None:
    drawn = rooms(PYTHON, "Packages")

    assert upward(drawn, uses_of_package()) == []


def test_a_use_that_points_upward_is_found() -> None:
    page = """
### A house

| room | files | what it is for |
|---|---|---|
| roof | `a`, `b` | decides |
| cellar | `c/d` | holds |

### Another house

| cave | `e` | is none of it |
"""
    drawn = rooms(page, "A house")
    uses = {"a": {"b", "c/d"}, "b": {"a"}, "c/d": {"b"}}

    assert drawn == [["a", "b"], ["c/d"]]
    assert upward(drawn, uses) == ["c/d uses b"]
