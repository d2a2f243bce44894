"""Which files of a Rust crate use which others: no two may use each other, not even by detours.

The files are read as text, without a compiler. A file uses another file if it names an item of
that file in a `use` line or in a path (`crate::…`, `super::…`). A name that the crate's `lib.rs`
passes on stands for the file it is passed on from. A parent that declares a module with `mod` does
not use that module by that line.
"""

import graphlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "core_rs"
CRATES = ("engine", "wire", "runtime")

PATH = re.compile(r"\b(crate|super|self)((?:::\w+)+)")
NAMES = re.compile(r"^(?:pub(?:\([a-z]+\))? )?use ([^;]+);", re.MULTILINE)
TESTS = re.compile(r"^#\[cfg\(test\)\]\n(pub\(crate\) )?mod \w+ \{.*", re.MULTILINE | re.DOTALL)


def files(crate: str) -> dict[tuple[str, ...], Path]:
    """The source files of a crate by their module path. Files of tests are left out."""
    source = ROOT / crate / "src"
    found = {}
    for path in source.rglob("*.rs"):
        parts = path.relative_to(source).with_suffix("").parts
        if parts[-1] in {"tests", "fixtures", "numbers", "every_request", "main"}:
            continue
        if "tests" not in parts:
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


def named(text: str) -> Iterator[str]:
    """Every path that a source file names in `use` lines and elsewhere."""
    text = TESTS.sub("", text)
    text = re.sub(r"//.*", "", text)
    for names in NAMES.findall(text):
        yield from expanded(names)
    for path in PATH.finditer(NAMES.sub("", text)):
        yield path.group(0)


def absolute(path: str, module: tuple[str, ...]) -> tuple[str, ...] | None:
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


def used(crate: str) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    """The files that each file of a crate uses."""
    sources = files(crate)

    def passed_on() -> Iterator[tuple[str, tuple[str, ...]]]:
        for names in NAMES.findall(sources[()].read_text(encoding="utf-8")):
            for path in expanded(names):
                parts = path.removeprefix("self::").split("::")
                if (parts[0],) in sources:
                    yield parts[-1], tuple(parts)

    exported = dict(passed_on())

    def home(path: tuple[str, ...]) -> tuple[str, ...]:
        path = exported.get(path[0], path) if path else path
        while path and path not in sources:
            path = path[:-1]
        return path

    graph = {}
    for module, source in sources.items():
        paths = [absolute(path, module) for path in named(source.read_text(encoding="utf-8"))]
        homes = {home(path) for path in paths if path}
        # What a file finds in its own module and in the root's re-exports is no other file.
        graph[module] = homes - {module, ()}
    return graph


def circle(graph: Mapping[tuple[str, ...], set[tuple[str, ...]]]) -> list[str]:
    """A circle in a graph, by name; empty if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return ["::".join(module) for module in error.args[1]]
    return []


@pytest.mark.parametrize("crate", CRATES)
def test_no_files_of_a_crate_use_each_other_in_a_circle(crate: str) -> None:
    assert circle(used(crate)) == []


def test_the_uses_of_a_crate_are_found() -> None:
    graph = used("runtime")

    # One example of each kind of path: `super::x`, `crate::x::y` and a family's `super::{a, b}`.
    assert ("shard", "journal") in graph["shard", "desk"]
    assert ("message",) in graph["shard", "journal"]
    assert ("shard", "calls", "enqueue") in graph["shard", "calls", "wait"]
    # `crate::View` is passed on by `lib.rs` from the file that holds it.
    assert ("context",) in used("wire")["record",]


def test_a_circle_of_files_is_found() -> None:
    graph = {("a",): {("b",)}, ("b",): {("c",)}, ("c",): {("a",)}, ("d",): {("a",)}}

    found = circle(graph)
    assert found[0] == found[-1]
    assert set(found) == {"a", "b", "c"}
    assert list(expanded("a::{b, c::{d, e as f}, self}")) == ["a::b", "a::c::d", "a::c::e", "a::self"]
