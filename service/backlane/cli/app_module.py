"""Owns how `MODULE:WORKER` becomes a worker: imports the module and finds the worker in it."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backlane.cli.exits import Exit
from backlane.cli.trouble import Trouble
from backlane.worker import Worker
from backlane.worker.worker import NotNowError, only_imported

if TYPE_CHECKING:
    from types import ModuleType, TracebackType

_MACHINERY: Final = (importlib.__file__, contextlib.__file__, "<", __file__)
"""How the file names of frames begin that belong to the import itself, or to no file."""
_PACKAGE: Final = str(Path(__file__).parents[1])


def find_worker(app: str) -> Worker:
    """Import a module and return its worker.

    Args:
        app: `MODULE:WORKER`, or `MODULE` if the module has one worker only.

    Raises:
        Trouble: there is no such module or worker, or the module cannot be imported. In the last
            case the user's traceback has been printed, unless Backlane itself refused something.
    """
    name, colon, attribute = app.partition(":")
    # As Python does for a script; the folder of the command itself is of no use to the user.
    sys.path.insert(0, str(Path.cwd()))
    module = _import(name)
    return _named(module, attribute) if colon else _only_one(module)


def _import(name: str) -> ModuleType:
    _refuse_a_file(name)
    try:
        with only_imported("`backlane worker`"):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _raised_in(name, error) from None
        raise _trouble(
            f"there is no module {error.name} in {Path.cwd()}: start the command in the folder "
            "that has it, or set PYTHONPATH"
        ) from None
    except SystemExit as error:
        raise _trouble(
            f"{name} ended the program while it was imported (status {error.code}): put code "
            'that is not for workers under `if __name__ == "__main__":`'
        ) from None
    except Exception as error:  # noqa: BLE001  # whatever the user's own code raises
        raise _refused_in(error) or _raised_in(name, error) from None


def _refuse_a_file(name: str) -> None:
    path = Path(name)
    if path.suffix == ".py":
        module = ".".join(path.with_suffix("").parts)
        raise _trouble(f"{name} is a file: name the module, as in `backlane worker {module}`")
    if not all(part.isidentifier() for part in name.split(".")):
        raise _trouble(f"{name!r} is not a module's name: use MODULE:WORKER, such as app:worker")


def _refused_in(error: Exception) -> Trouble | None:
    """Name the user's line that asked Backlane for something it refuses; None for other errors.

    A traceback would hide that line behind Backlane's own frames.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not isinstance(error, TypeError | ValueError | NotNowError) or not _is_ours(frames[-1]):
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
    """Print the traceback without the frames of the import, and say what it means."""
    traceback.print_exception(type(error), error, _own_part(error.__traceback__))
    return _trouble(f"{name} cannot be imported: the error above was raised in it")


def _own_part(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of the import at the front."""
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
