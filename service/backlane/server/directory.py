"""Owns the check, the salvage, the backup and the restore of a data directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backlane._core import (
    CoreError,
    DataCorruptError,
    backup_directory,
    check_directory,
    restore_directory,
    salvage_directory,
)

if TYPE_CHECKING:
    from pathlib import Path


class DirectoryError(Exception):
    """Nothing was done to the directory. The message is one line that says what to do."""


class DamagedError(DirectoryError):
    """The directory is damaged, and was not copied. The message may have a line per damage."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check of a data directory found.

    Attributes:
        frames: frames of the log that can be read.
        facts: facts in these frames.
        rows: rows that can be read.
        damage: the damage, one line each; empty if the directory is whole.
    """

    frames: int
    facts: int
    rows: int
    damage: list[str]


@dataclass(frozen=True, slots=True)
class Salvage(Findings):
    """What a salvage found and saved. Executions are named by their ids.

    Attributes:
        living: number of executions that are living in the new directory.
        failed: executions that ended as failed, because how they ended or where they stood is
            lost.
        uncertain: living executions that lost facts may have changed: they may run a second time.
        without_payload: living executions whose payload is lost: the server ends them as failed.
    """

    living: int
    failed: list[str]
    uncertain: list[str]
    without_payload: list[str]


def check(path: Path) -> Findings:
    """Read a whole data directory and report what is damaged; change nothing.

    Raises:
        DirectoryError: a server uses the directory, or it is not one that this version can read.
    """
    try:
        return Findings(**check_directory(str(path)))
    except CoreError as error:
        raise DirectoryError(str(error)) from error


def salvage(path: Path, new: Path) -> Salvage:
    """Write what is whole in a damaged data directory into a new one.

    Args:
        path: the damaged directory, which is not changed.
        new: the new directory, which must be empty or not exist.

    Raises:
        DirectoryError: as for `check`, or the new directory is not empty or cannot be written.
    """
    try:
        return Salvage(**salvage_directory(str(path), str(new)))
    except CoreError as error:
        raise DirectoryError(str(error)) from error


def backup(path: Path, new: Path) -> Findings:
    """Copy a data directory, which a server may be using, into a new one, and check the copy.

    Args:
        path: the data directory.
        new: the backup, a directory that must be empty or not exist.

    Returns:
        What the check found in the backup, which is undamaged.

    Raises:
        DamagedError: the directory is damaged.
        DirectoryError: it is not one that this version can read, or the backup cannot be written.
    """
    try:
        return Findings(**backup_directory(str(path), str(new)))
    except CoreError as error:
        raise _refusal(error) from error


def restore(backup: Path, new: Path, *, accept_loss: bool = False) -> Findings:
    """Copy a backup into a new data directory, and check the copy.

    Args:
        backup: the backup, which is not changed.
        new: the data directory, which must be empty or not exist.
        accept_loss: whether the backup may end earlier than its watermark says.

    Raises:
        DamagedError: the backup is damaged or incomplete.
        DirectoryError: a server uses the backup, or the new directory cannot be written.
    """
    try:
        return Findings(**restore_directory(str(backup), str(new), accept_loss=accept_loss))
    except CoreError as error:
        raise _refusal(error) from error


def _refusal(error: CoreError) -> DirectoryError:
    kind = DamagedError if isinstance(error, DataCorruptError) else DirectoryError
    return kind(str(error))
