"""Owns how `MODULE:WORKER` becomes a worker: imports the user's module and looks for it there."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backlane.cli.exits import Exit
from backlane.cli.trouble import Trouble
from backlane.worker import CallableError, Worker

if TYPE_CHECKING:
    from types import ModuleType, TracebackType

_MACHINERY: Final = (importlib.__file__, "<", __file__)
"""How the files of an import's own frames begin, and of code that is in no file."""
_PACKAGE: Final = str(Path(__file__).parents[1])


def find_worker(app: str) -> Worker:
    """Import a module and return its worker.

    Args:
        app: `MODULE:WORKER`, or `MODULE` where it has one worker alone.

    Raises:
        Trouble: there is no such module or worker, or the module cannot be imported; the user's
            own traceback has then been printed, unless it was Backlane that refused something.
    """
    name, colon, attribute = app.partition(":")
    # As for a script of the user's own; the command's own folder is no place of theirs.
    sys.path.insert(0, str(Path.cwd()))
    module = _import(name)
    return _named(module, attribute) if colon else _only_one(module)


def _import(name: str) -> ModuleType:
    _refuse_a_file(name)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _raised_in(name, error) from None
        raise _trouble(
            f"there is no module {error.name} in {Path.cwd()}: start in the folder that holds it, "
            "or set PYTHONPATH"
        ) from None
    except SystemExit as error:
        raise _trouble(
            f"{name} ended the program while it was imported (status {error.code}): put what is "
            'not for workers under `if __name__ == "__main__":`'
        ) from None
    except Exception as error:  # noqa: BLE001  # whatever the user's own code raises
        raise _refused_in(error) or _raised_in(name, error) from None


def _refuse_a_file(name: str) -> None:
    path = Path(name)
    if path.suffix == ".py":
        module = ".".join(path.with_suffix("").parts)
        raise _trouble(f"{name} is a file: name the module, as in `backlane worker {module}`")
    if not all(part.isidentifier() for part in name.split(".")):
        raise _trouble(f"{name!r} is no module's name: use MODULE:WORKER, such as app:worker")


def _refused_in(error: Exception) -> Trouble | None:
    """Say where Backlane was asked for what it refuses, if that is what it is: no more is to see.

    Backlane's own frames would hide the line that is to be mended.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not isinstance(error, CallableError | ValueError) or not _is_ours(frames[-1]):
        return None
    users = [part for part in frames if not _is_ours(part) and not _is_machinery(part.filename)]
    if not users:
        return None
    place = Path(users[-1].filename)
    if place.is_relative_to(Path.cwd()):
        place = place.relative_to(Path.cwd())
    return _trouble(f"{place}, line {users[-1].lineno}: {error}")


def _is_ours(part: traceback.FrameSummary) -> bool:
    return part.filename.startswith(_PACKAGE)


def _is_machinery(filename: str) -> bool:
    return filename.startswith(_MACHINERY)


def _raised_in(name: str, error: Exception) -> Trouble:
    """Print the traceback as the user's code made it, and say what it means."""
    traceback.print_exception(type(error), error, _own_part(error.__traceback__))
    return _trouble(f"{name} cannot be imported: the error above was raised in it")


def _own_part(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the import's own frames in front."""
    part = trace
    while part is not None and _is_machinery(part.tb_frame.f_code.co_filename):
        part = part.tb_next
    return part


def _named(module: ModuleType, attribute: str) -> Worker:
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise _trouble(f"{module.__name__} has no {attribute!r}: {_what_there_is(module)}")
        found = getattr(found, part)
    if not isinstance(found, Worker):
        kind = type(found).__qualname__
        raise _trouble(
            f"{module.__name__}:{attribute} is a {kind}, not a Worker: {_what_there_is(module)}"
        )
    return found


def _only_one(module: ModuleType) -> Worker:
    workers = _workers(module)
    if len({id(worker) for worker in workers.values()}) == 1:
        return next(iter(workers.values()))
    if not workers:
        raise _trouble(f"{module.__name__} has no worker: {_what_there_is(module)}")
    raise _trouble(f"{module.__name__} has several workers: {_what_there_is(module)}")


def _what_there_is(module: ModuleType) -> str:
    names = [f"{module.__name__}:{name}" for name in _workers(module)]
    if not names:
        return "make one with `worker = backlane.Worker()`"
    return f"name {' or '.join(names)}"


def _workers(module: ModuleType) -> dict[str, Worker]:
    return {name: part for name, part in vars(module).items() if isinstance(part, Worker)}


def _trouble(line: str) -> Trouble:
    return Trouble(line, Exit.USAGE)
