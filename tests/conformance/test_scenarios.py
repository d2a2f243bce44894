"""Runs every scenario on a server behind a channel, with a clock that the test moves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conformance.scenario.script import Line, keyed, normal, parse, plain
from tests.conformance.scenario.stage import Answer, Stage
from tests.conformance.scenario.stand import Stand
from tests.conformance.scenario.view import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.scenario"))
CAN = {"filters", "limits", "restart", "settings"}
"""The abilities of this runner. A store cannot be filled through a channel."""
PASSED_OVER = ("needs", "settings")
STATES = ("expect", "run", "stats", "task")
"""Verbs whose own keys say what must be."""


def test_there_are_scenarios() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_scenario(path: Path, tmp_path: Path) -> None:
    lines = load(path)
    needs = {need for line in lines if line.verb == "needs" for need in plain(line.words)}
    if needs - CAN:
        pytest.skip(f"needs {', '.join(sorted(needs - CAN))}, which no call of the API sets")
    settings = [keyed(line.words) for line in lines if line.verb == "settings"]
    limits = {name: int(number) for given in settings for name, number in given.items()}
    async with Stand(tmp_path if "restart" in needs else None, limits) as stand:
        stage = Stage(stand)
        for line in lines:
            if line.verb not in PASSED_OVER:
                answer = await stage.play(line)
                assert list(differences(line, answer)) == [], f"{path.name}:{line.number}"


def load(path: Path) -> list[Line]:
    """The lines of a scenario."""
    return parse(path.read_text(encoding="utf-8"))


def differences(line: Line, answer: Answer) -> Iterator[str]:
    """The differences between the answer to a line and the expected one."""
    words = plain(line.expected)
    if words != answer.words and (words or answer.words[:1] == ["error"]):
        yield f"answered {answer.words}, not {words}"
    for key, expected in stated(line).items():
        actual = answer.fields.get(key, "missing")
        if actual != value(key, expected):
            yield f"{key} is {actual}, not {expected}"


def stated(line: Line) -> dict[str, str]:
    """The keys that a line says something of; those of the engine are not on the API."""
    told = keyed(line.words) if line.verb in STATES else {}
    told |= keyed(line.expected)
    return {
        key: text for key, text in told.items() if key != "tenant" and not key.startswith("engine.")
    }


def value(key: str, text: str) -> object:
    """An expected value in the form of the answers."""
    return json.loads(text) if key == "output" and text != NONE else normal(text)
