"""Runs the examples of the guide and of docstrings against a real server."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import backlane

if TYPE_CHECKING:
    from backlane.testing import ServerProcess
    from tests.conftest import StartServer

GUIDE = Path(__file__).resolve().parents[2] / "service" / "backlane" / "README.md"


def example_of(name: str) -> str | None:
    """The example in the docstring of a public name."""
    text = inspect.getdoc(getattr(backlane, name)) or ""
    _, mark, example = text.partition("\nExample:\n")
    return textwrap.dedent(example) if mark else None


EXAMPLES = {name: example for name in backlane.__all__ if (example := example_of(name))}


def play(code: str, folder: Path, target: str) -> None:
    """Run a script to its end; warnings are errors."""
    script = folder / "example.py"
    script.write_text(code, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        check=False,
        env=os.environ | {"BACKLANE_TARGET": target},
        text=True,
        timeout=50,
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout == "all of it\n"


def test_the_examples_of_the_guide_hold(start_server: StartServer, tmp_path: Path) -> None:
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"))

    play("\n".join([*blocks, 'print("all of it")']), tmp_path, start_server().target)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_docstring_holds(name: str, server: ServerProcess, tmp_path: Path) -> None:
    lines = [EXAMPLES[name], 'print("all of it")']
    if "await " in EXAMPLES[name]:
        body = textwrap.indent("\n".join(lines), "    ")
        lines = [f"async def main() -> None:\n{body}\n\nimport asyncio\nasyncio.run(main())"]

    play("\n".join(["from backlane import *", *lines]), tmp_path, server.target)


def test_what_people_begin_with_has_an_example() -> None:
    expected = {"AsyncClient", "Client", "Failure", "Graph", "RawInput", "Retry", "Worker"}

    assert expected | {"declare"} == set(EXAMPLES)
