"""Which files of a Rust crate use which others: no two may use each other, not even by detours.

The files are read as text, without a compiler. A file uses another file if it names an item of
that file in a `use` line or in a path (`crate::…`, `super::…`, `child::…`). A name that a parent
passes on (`pub use child::Name`) stands for the file it is passed on from. A parent that declares a
module with `mod`, or passes its names on, does not use that module by those lines.

Not seen are methods that a file adds to another file's type in an `impl` block.
"""

import graphlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "core_rs"
CRATES = ("engine", "wire", "runtime")
STRICT = ("wire", "runtime")
"""Crates in which not even a file and its own parent use each other."""

Module = tuple[str, ...]
Graph = dict[Module, set[Module]]

PASSED_ON = re.compile(r"^pub(?:\([a-z]+\))? (?:use|mod) ([^;]+);", re.MULTILINE)
PATH = re.compile(r"\b(crate|super|self)((?:::\w+)+)")
NAMES = re.compile(r"^(?:pub(?:\([a-z]+\))? )?use ([^;]+);", re.MULTILINE)
TESTS = re.compile(r"^#\[cfg\(test\)\]\n(pub\(crate\) )?mod \w+ \{.*", re.MULTILINE | re.DOTALL)


def files(crate: str) -> dict[Module, Path]:
    """The source files of a crate by their module path. Files of tests are left out."""
    source = ROOT / crate / "src"
    found = {}
    for path in source.rglob("*.rs"):
        parts = path.relative_to(source).with_suffix("").parts
        if parts[-1] in {"tests", "fixtures", "numbers", "every_request", "main"}:
            continue
        if not {"tests", "fixtures"} & set(parts):
            found[() if parts == ("lib",) else parts] = path
    return found


def expanded(names: str) -> Iterator[str]:
    """The paths of a `use` line, one for each name in its braces."""
    names = re.sub(r"\s+", " ", names).strip()
    brace = names.find("{")
    if brace < 0:
        yield names.split(" as ")[0].strip()
        return
    head, inner, depth, start = names[:brace], names[brace + 1 : names.rindex("}")], 0, 0
    for at, letter in enumerate([*inner, ","]):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            part = inner[start:at].strip()
            if part:
                yield from expanded(head + part)
            start = at + 1


def plain(text: str) -> str:
    """A source file without its tests and comments."""
    return re.sub(r"//.*", "", TESTS.sub("", text))


def named(text: str) -> Iterator[str]:
    """Every path that a source file names in `use` lines and elsewhere."""
    text = plain(text)
    for names in NAMES.findall(text):
        yield from expanded(names)
    for path in PATH.finditer(NAMES.sub("", text)):
        yield path.group(0)


def absolute(path: str, module: Module) -> Module | None:
    """A path from the crate's root; None for a path that leads out of the crate."""
    parts = path.split("::")
    if parts[0] == "crate":
        return tuple(parts[1:])
    if parts[0] not in {"self", "super"}:
        return None
    base = module
    while parts and parts[0] in {"self", "super"}:
        base = base[:-1] if parts[0] == "super" else base
        parts = parts[1:]
    return (*base, *parts)


def passed_on(sources: Mapping[Module, Path]) -> dict[Module, Module]:
    """The names that files pass on from their own folders, each with the path it stands for."""
    found = {}
    for module, source in sources.items():
        for names in PASSED_ON.findall(plain(source.read_text(encoding="utf-8"))):
            for path in expanded(names):
                parts = tuple(path.removeprefix("self::").split("::"))
                if (*module, parts[0]) in sources:
                    found[*module, parts[-1]] = (*module, *parts)
    return found


def children_used(module: Module, text: str, sources: Mapping[Module, Path]) -> Iterator[Module]:
    """The files of its own folder that a file names by their names alone."""
    text = PASSED_ON.sub("", plain(text))
    for child in sources:
        if child and child[:-1] == module and re.search(rf"(?<![:\w]){child[-1]}::", text):
            yield child


def used(crate: str) -> Graph:
    """The files that each file of a crate uses."""
    sources = files(crate)
    exported = passed_on(sources)

    def home(path: Module) -> Module:
        at: Module = ()
        for part in path:
            at = (*at, part)
            if at not in sources:
                return home(exported[at]) if at in exported else at[:-1]
        return at

    graph = {}
    for module, source in sources.items():
        text = source.read_text(encoding="utf-8")
        paths = [absolute(path, module) for path in named(text)]
        homes = {home(path) for path in paths if path}
        # What a file finds in its own module and in the root's re-exports is no other file.
        graph[module] = {*homes, *children_used(module, text, sources)} - {module, ()}
    return graph


def without_parents(graph: Graph) -> Graph:
    """The same graph without the arrows from files to their own parents.

    A parent often holds a type, and the files of its folder hold that type's methods.
    """
    return {
        module: {other for other in others if other != module[: len(other)]}
        for module, others in graph.items()
    }


def circle(graph: Graph) -> list[str]:
    """A circle in a graph, by name; empty if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return ["::".join(module) for module in error.args[1]]
    return []


@pytest.mark.parametrize("crate", CRATES)
def test_no_files_of_a_crate_use_each_other_in_a_circle(crate: str) -> None:
    graph = used(crate)

    assert circle(graph if crate in STRICT else without_parents(graph)) == []


def test_the_uses_of_a_crate_are_found() -> None:
    graph = used("runtime")

    # One example of each kind of path: `super::x`, `crate::x::y` and a family's `super::{a, b}`.
    assert ("shard", "journal") in graph["shard", "desk"]
    assert ("message",) in graph["shard", "journal"]
    assert ("shard", "calls", "enqueue") in graph["shard", "calls", "wait"]
    # A parent names its own children, as `pump::frame`.
    assert ("shard", "pump") in graph["shard",]
    # `crate::View` is passed on by `lib.rs` from the file that holds it, and so are names of
    # other parents.
    assert ("context",) in used("wire")["record",]
    assert ("fact", "request") in used("engine")["fact", "execution"]


def test_a_circle_of_files_is_found() -> None:
    graph: Graph = {("a",): {("b",)}, ("b",): {("c",)}, ("c",): {("a",)}, ("d",): {("a",)}}

    found = circle(graph)
    assert found[0] == found[-1]
    assert set(found) == {"a", "b", "c"}
    names = "a::b a::c::d a::c::e a::self"
    assert " ".join(expanded("a::{b, c::{d, e as f}, self}")) == names


def test_an_arrow_to_a_parent_is_told_from_others() -> None:
    graph: Graph = {
        ("a",): {("a", "b"), ("c",)},
        ("a", "b"): {("a",), ("c",)},
        ("a", "b", "d"): {("a",), ("a", "e")},
        ("c",): {("a",)},
    }

    assert without_parents(graph) == {
        ("a",): {("a", "b"), ("c",)},
        ("a", "b"): {("c",)},
        ("a", "b", "d"): {("a", "e")},
        ("c",): {("a",)},
    }
