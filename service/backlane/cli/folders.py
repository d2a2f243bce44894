"""Owns the check whether a path can be a directory, before the core is asked to open it."""

from __future__ import annotations

from pathlib import Path


def path_problem(path: Path | str) -> str | None:
    """Say why a path is not a directory and cannot become one; None if nothing is known."""
    place = Path(path)
    try:
        # The nearest part that is there; those below it can be made.
        found = next((part for part in (place, *place.parents) if _is_there(part)), None)
        if found is None or found.is_dir():
            return None
        if found.is_symlink():
            return f"{found} is a link to {found.readlink()}, which {_what_is_wrong(found)}"
    except OSError:
        # A folder may not be read, which the core will say.
        return None
    return f"{found} is not a directory"


def _is_there(part: Path) -> bool:
    return part.is_symlink() or part.exists()


def _what_is_wrong(link: Path) -> str:
    return "is not a directory" if link.exists() else "does not exist"
