"""Owns the choice of files below a folder, and the check whether one has changed."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Subject:
    """A file as it was when it was enqueued.

    Attributes:
        path: where it is.
        size: its length in bytes.
        modified_ns: when it was last written, in nanoseconds since the epoch.
    """

    path: Path
    size: int
    modified_ns: int

    def has_changed(self) -> bool:
        """Tell whether the file has changed or is gone."""
        return read_subject(self.path) != self


@dataclass(frozen=True, slots=True)
class Choice:
    """The files to describe, and how many could not be read."""

    subjects: list[Subject]
    skipped: int


def choose_files(folder: Path, without: str = "") -> Choice:
    """Find every readable regular file below a folder, following no links.

    Args:
        folder: where to look.
        without: the name of folders to pass over.
    """
    files = [path for path in _walk(folder, without) if not path.is_symlink()]
    subjects = [subject for path in files if (subject := read_subject(path))]
    return Choice(subjects, len(files) - len(subjects))


def _walk(folder: Path, without: str) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        # What is left in place is where the walk itself goes, in that order.
        folders[:] = sorted(name for name in folders if name != without)
        yield from (Path(place, name) for name in sorted(names))


def read_subject(path: Path) -> Subject | None:
    """Return a file's size and time; None if it is not a readable regular file."""
    try:
        about = path.stat(follow_symlinks=False)
    except OSError:
        return None
    if not stat.S_ISREG(about.st_mode) or not os.access(path, os.R_OK):
        return None
    return Subject(path, about.st_size, about.st_mtime_ns)
