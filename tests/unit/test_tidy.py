"""Rules that no linter checks: lengths of lines, functions and files, and names of files."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINE_LENGTH_MAX = 100
FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 70
VAGUE_NAMES = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
GENERATED = Path("service/backlane/v1")
NODE = Path("tests/conformance/clients/node/node_modules")


def sources(suffix: str) -> list[Path]:
    """The project's own source files with a suffix, from the top level."""
    found = [
        path.relative_to(ROOT)
        for folder in ("core_rs", "service", "tests", "proto")
        for path in sorted((ROOT / folder).rglob(f"*{suffix}"))
    ]
    own = [path for path in found if not {GENERATED, NODE} & {*path.parents}]
    assert own, f"no {suffix} file was found in {ROOT}"
    return own


def lines(path: Path) -> list[str]:
    """The lines of a source file."""
    return (ROOT / path).read_text(encoding="utf-8").splitlines()


def long_functions(path: Path) -> Iterator[str]:
    """The functions of a Python file that are too long to read at once."""
    for node in ast.walk(ast.parse("\n".join(lines(path)))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{path}:{node.lineno} {node.name} has {length} lines"


def test_every_rust_file_opens_by_saying_what_it_owns() -> None:
    silent = [str(path) for path in sources(".rs") if not lines(path)[:1][0].startswith("//! ")]

    assert silent == []


def test_no_line_is_too_long() -> None:
    long = [
        f"{path}:{number}"
        for suffix in (".rs", ".py", ".pyi", ".proto")
        for path in sources(suffix)
        for number, line in enumerate(lines(path), start=1)
        if len(line) > LINE_LENGTH_MAX
    ]

    assert long == []


def test_no_file_is_too_long() -> None:
    long = [
        f"{path} has {count} lines"
        for suffix in (".rs", ".py")
        for path in sources(suffix)
        if (count := len(lines(path))) > FILE_LINES_MAX
    ]

    assert long == []


def test_no_python_function_is_too_long() -> None:
    assert [long for path in sources(".py") for long in long_functions(path)] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [
        str(path)
        for suffix in (".rs", ".py")
        for path in sources(suffix)
        if VAGUE_NAMES & {part.removesuffix(suffix) for part in path.parts}
    ]

    assert vague == []


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    command = lines(Path(".ci/run"))[-1]

    assert command in lines(Path("README.md"))
