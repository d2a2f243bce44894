"""A small file system of its own, in a file, which a test can fill."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB: Final = 1024 * 1024


class SmallDisk:
    """A mounted file system.

    Attributes:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        """Make one of a mount point."""
        self.path = path

    @property
    def free_bytes(self) -> int:
        """The bytes that are free for everybody but root."""
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def occupy(self, name: str, size: int) -> None:
        """Take away so many bytes, as another program would."""
        with (self.path / name).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def occupy_all(self, name: str) -> None:
        """Take away every byte that is free."""
        with (self.path / name).open("wb", buffering=0) as file:
            for step in (MIB, 4096):
                _write_until_full(file.fileno(), step)

    def give_back(self, name: str) -> None:
        """Free what was taken away. It is free when this returns."""
        (self.path / name).unlink()
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _write_until_full(file: int, step: int) -> None:
    block = b"\0" * step
    while True:
        try:
            os.write(file, block)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    """Make, mount and unmount a file system of that many bytes."""
    image, mount = folder / "disk.img", folder / "disk"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    # No bytes that only root can use, so that free bytes mean the same for everybody.
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        yield SmallDisk(mount)
    finally:
        subprocess.run(["umount", mount], check=True)
        image.unlink()
