"""The parts of `backlane demo` that compute: the description of a file, and the verdict."""

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlane.cli.demo import callables, files
from backlane.cli.demo.verdict import Verdict, count_accepted_twice


@given(st.lists(st.sampled_from([b"a", b" ", b"\n", b"\xff", b"\0"])).map(b"".join))
def test_a_file_is_described_alike_however_it_is_read(content: bytes) -> None:
    digest, lines = hashlib.sha256(content).hexdigest(), content.count(b"\n")
    expected = callables.Facts(digest, lines, words=len(content.split()))
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        file.write(content)
        file.flush()
        patch.setattr(callables, "PIECE_BYTES", 3)

        assert expected == callables.describe_file(Path(file.name))


def test_only_readable_regular_files_are_chosen(tmp_path: Path) -> None:
    kept = tmp_path / "below" / "kept"
    kept.parent.mkdir()
    kept.write_text("x")
    (tmp_path / "link").symlink_to(kept)

    choice = files.choose_files(tmp_path)

    assert [kept] == [subject.path for subject in choice.subjects]
    assert not choice.subjects[0].has_changed()
    kept.write_text("another")
    assert choice.subjects[0].has_changed()


def test_a_completion_answered_twice_under_one_lease_counts_once() -> None:
    assert count_accepted_twice([("a", "1"), ("a", "1"), ("b", "2"), ("b", "3")]) == 1


@pytest.mark.parametrize(
    ("verdict", "is_good"),
    [
        (Verdict(enqueued=3, completed=3, retried=2), True),
        (Verdict(enqueued=3, completed=2, changed=1), True),
        (Verdict(enqueued=3, completed=2), False),
        (Verdict(enqueued=3, completed=2, lost=1), False),
        (Verdict(enqueued=3, completed=3, wrong=1), False),
        (Verdict(enqueued=3, completed=3, accepted_twice=1), False),
    ],
)
def test_the_verdict_is_good_only_where_everything_agrees(
    verdict: Verdict,
    is_good: bool,  # noqa: FBT001  # a parameter of the test's table
) -> None:
    assert is_good == verdict.is_good
