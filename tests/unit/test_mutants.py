"""The list of mends that the core is tried without: each change names one place of the sources."""

import pytest

from tests.mutants import MUTANTS, ROOT, Change

CHANGES = [(mutant.name, change) for mutant in MUTANTS for change in mutant.changes]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[name for name, _ in CHANGES])
def test_a_change_of_a_mutant_names_exactly_one_place(name: str, change: Change) -> None:
    source = (ROOT / change.file).read_text(encoding="utf-8")

    assert (name, source.count(change.find)) == (name, 1)
    assert change.find != change.replace


def test_each_mutant_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
