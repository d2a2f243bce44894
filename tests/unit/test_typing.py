"""Type checkers infer types in a user's file, and find mistakes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parent / "typing_samples"
CHECKERS = ("mypy", "pyright")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def errors_of(checker: str, sample: str, folder: Path) -> list[int]:
    """The lines in which a checker, as strict as can be, finds errors in a sample.

    The sample lies in an empty folder, as a user's would: no setting of this project counts.
    """
    file = folder / sample
    shutil.copy(SAMPLES / sample, file)
    if checker == "mypy":
        command = ["-m", "mypy", "--strict", "--no-incremental", "--config-file=", str(file)]
        pattern = rf"{sample}:(\d+): error"
        run = subprocess.run(
            [sys.executable, *command], capture_output=True, check=False, cwd=folder, text=True
        )
        assert run.returncode in {0, 1}, run.stdout + run.stderr
        return sorted({int(line) for line in re.findall(pattern, run.stdout)})
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    command = ["-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(file)]
    run = subprocess.run(
        [sys.executable, *command], capture_output=True, check=False, cwd=folder, text=True
    )
    assert run.returncode in {0, 1}, run.stdout + run.stderr
    found = json.loads(run.stdout)["generalDiagnostics"]
    return sorted({one["range"]["start"]["line"] + 1 for one in found})


@pytest.mark.parametrize("checker", CHECKERS)
def test_argument_and_result_types_of_a_callable_are_inferred(checker: str, tmp_path: Path) -> None:
    assert errors_of(checker, "right.py", tmp_path) == []


@pytest.mark.parametrize("checker", CHECKERS)
def test_mistakes_are_found_where_they_are_and_nowhere_else(checker: str, tmp_path: Path) -> None:
    lines = (SAMPLES / "wrong.py").read_text().splitlines()
    marked = [number for number, line in enumerate(lines, start=1) if "# wrong" in line]

    assert errors_of(checker, "wrong.py", tmp_path) == marked
