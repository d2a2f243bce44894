"""`backlane worker`: how it finds a worker, and its messages if there is none."""

from __future__ import annotations

import logging
import sys
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import pytest

from backlane.cli.app_module import find_worker
from backlane.cli.main import run
from backlane.cli.worker import _log_to_stderr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKER = "import backlane\nworker = backlane.Worker()\n"
OFFER = "@worker.callable\ndef greet(name: str) -> str:\n    return name\n"


class Write(Protocol):
    """Writes a module of a name that no other test has, and returns that name."""

    def __call__(self, text: str) -> str:
        """Write it to the current folder."""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules to the current folder, which is one of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = []

    def write(text: str) -> str:
        names.append(f"app_{uuid.uuid4().hex}")
        (tmp_path / f"{names[-1]}.py").write_text(text)
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a worker that cannot run, without the prefix."""
    status = run(["worker", *arguments])
    shown = capsys.readouterr()
    assert (status, shown.err[:10]) == (2, "backlane: ")
    return shown.err.removeprefix("backlane: ")


@pytest.mark.parametrize("attribute", ["", ":worker", ":Home.worker"])
def test_a_worker_is_found_in_a_module_of_the_current_folder(write: Write, attribute: str) -> None:
    name = write(f"{WORKER}class Home:\n    worker = worker\n")

    assert find_worker(name + attribute) is sys.modules[name].worker


def test_one_worker_under_two_names_is_one(write: Write) -> None:
    name = write(f"{WORKER}same = worker\n")

    assert find_worker(name) is sys.modules[name].worker


def test_several_workers_are_named(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    name = write(f"{WORKER}other = backlane.Worker()\n")

    assert refusal(capsys, name) == (
        f"{name} has several workers: name {name}:worker or {name}:other\n"
    )


def test_a_module_without_a_worker_is_told_how_to_make_one(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write("worker = 3\n")

    hint = "make one with `worker = backlane.Worker()`"
    assert refusal(capsys, name) == f"{name} has no worker: {hint}\n"
    assert refusal(capsys, f"{name}:worker") == f"{name}:worker is a int, not a Worker: {hint}\n"
    assert refusal(capsys, f"{name}:nope") == f"{name} has no 'nope': {hint}\n"


def test_a_callable_is_no_worker(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    name = write(WORKER + OFFER)

    assert refusal(capsys, f"{name}:greet") == (
        f"{name}:greet is a BackgroundCallable, not a Worker: name {name}:worker\n"
    )


def test_a_module_that_there_is_not(
    write: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write("")

    assert refusal(capsys, "nowhere.app:worker") == (
        f"there is no module nowhere in {tmp_path}: start the command in the folder "
        "that has it, or set PYTHONPATH\n"
    )


@pytest.mark.parametrize(
    ("app", "line"),
    [
        ("app.py", "app.py is a file: name the module, as in `backlane worker app`"),
        ("src/app.py:w", "src/app.py is a file: name the module, as in `backlane worker src.app`"),
        ("my-app", "'my-app' is not a module's name: use MODULE:WORKER, such as app:worker"),
        (":worker", "'' is not a module's name: use MODULE:WORKER, such as app:worker"),
    ],
)
def test_what_is_no_modules_name(
    write: Write, capsys: pytest.CaptureFixture[str], app: str, line: str
) -> None:
    write("")

    assert refusal(capsys, app) == f"{line}\n"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("def load():\n    raise KeyError('gone')\n\nload()\n", "KeyError: 'gone'"),
        ("import nowhere\n", "ModuleNotFoundError: No module named 'nowhere'"),
        ("def (:\n", "SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_raises_shows_its_own_traceback_and_one_line_more(
    write: Write, capsys: pytest.CaptureFixture[str], text: str, end: str
) -> None:
    name = write(text)

    status = run(["worker", name])

    trace, last = capsys.readouterr().err.rsplit("backlane: ", 1)
    assert (status, last) == (2, f"{name} cannot be imported: the error above was raised in it\n")
    assert trace.splitlines()[-1] == end
    assert f"{name}.py" in trace.splitlines()[1 if "Traceback" in trace else 0]
    assert "importlib" not in trace


TWO_INPUTS = (
    "callable greet takes 2 inputs: put them into one, such as a dataclass; a context is the first "
    "parameter and is named `ctx`"
)
STARTED = (
    "this starts a worker while `backlane worker` imports the module, and would run it too: put it "
    'under `if __name__ == "__main__":`'
)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("backlane.Worker(concurrency=0)\n", 4, "concurrency must be from 1 to 5000, not 0"),
        ("@worker.callable\ndef greet(a: int, b: int) -> None: ...\n", 4, TWO_INPUTS),
        (
            "def offer(it):\n    worker.callable(name='it')(it)\n\noffer(lambda a, b: None)\n",
            5,
            TWO_INPUTS.replace("greet", "it"),
        ),
        (
            "@worker.callable(priority='high')\ndef f() -> None: ...\n",
            4,
            "priority must be a whole number, not 'high'",
        ),
        (f"{OFFER}worker.run()\n", 7, STARTED),
        (f"{OFFER}shift = worker.start()\n", 7, STARTED),
        (f"{OFFER}with worker.running():\n    pass\n", 7, STARTED),
    ],
)
def test_what_backlane_refuses_in_a_module_is_one_line_with_its_place(
    write: Write, capsys: pytest.CaptureFixture[str], text: str, line: int, reason: str
) -> None:
    name = write(f"{WORKER}\n{text}")

    assert refusal(capsys, name) == f"{name}.py, line {line}: {reason}\n"


def test_an_error_of_the_modules_own_kind_shows_its_traceback(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write("raise ValueError('mine')\n")

    assert run(["worker", name]) == 2
    assert "ValueError: mine\nbacklane: " in capsys.readouterr().err


def test_a_module_that_ends_the_program_is_told_about_main(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write("raise SystemExit(3)\n")

    assert refusal(capsys, name) == (
        f"{name} ended the program while it was imported (status 3): put code that is not for "
        'workers under `if __name__ == "__main__":`\n'
    )


def test_a_worker_that_offers_nothing(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    name = write(WORKER)

    assert refusal(capsys, name) == (
        f"{name}: this worker has no callables: decorate a function with @worker.callable\n"
    )


NO_NAME = "'a b' must be 1 to 128 of A-Z a-z 0-9 . _ : @ / -"


@pytest.mark.parametrize("reload", [(), ("--reload",)])
@pytest.mark.parametrize(
    ("option", "line"),
    [
        (("--lease", "0s"), "'0s' is not a duration from 1s to 1h"),
        (("--lease", "61m"), "'61m' is not a duration from 1s to 1h"),
        (("--tenant", "a b"), f"tenant {NO_NAME}"),
        (("--name", "a b"), f"name {NO_NAME}"),
        (("--concurrency", "5001"), "concurrency must be from 1 to 5000, not 5001"),
        (("--target", "foo"), "'foo' is not HOST:PORT, such as 127.0.0.1:7433"),
        (
            ("--target", "http://127.0.0.1:80"),
            "'http://127.0.0.1:80' is not HOST:PORT, such as 127.0.0.1:7433",
        ),
    ],
)
def test_an_option_that_cannot_be_used_is_named_before_anything_starts(
    write: Write,
    capsys: pytest.CaptureFixture[str],
    option: tuple[str, str],
    line: str,
    reload: tuple[str, ...],
) -> None:
    name = write(f"{WORKER}{OFFER}print('imported')\n")

    status = run(["worker", name, *option, *reload])

    assert (status, *capsys.readouterr()) == (
        *(2, ""),
        f"backlane: invalid value for {option[0]}: {line}: see `backlane worker --help`\n",
    )


def test_a_target_of_the_environment_that_is_no_address(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKLANE_TARGET", "junk")
    name = write(WORKER + OFFER)

    assert refusal(capsys, name) == (
        "invalid value for BACKLANE_TARGET: 'junk' is not HOST:PORT, such as 127.0.0.1:7433: see "
        "`backlane worker --help`\n"
    )


def test_a_worker_does_not_start_with_an_annotation_that_cannot_be_resolved(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write(f"{WORKER}@worker.callable\ndef greet(name: 'Nobody') -> None: ...\n")

    status = run(["worker", name])

    reason = "annotation 'Nobody' of name cannot be resolved: name 'Nobody' is not defined"
    assert (status, *capsys.readouterr()) == (
        *(2, ""),
        f"backlane: {name}: callable greet: {reason}\n",
    )


def test_reload_without_its_library_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)

    assert refusal(capsys, "app", "--reload") == (
        "--reload needs the library watchfiles: pip install 'backlane[reload]'\n"
    )


@contextmanager
def fresh_root() -> Iterator[logging.Logger]:
    """A root of loggers that is as Python starts with it, without the handlers of pytest."""
    with pytest.MonkeyPatch.context() as patch:
        root = logging.RootLogger(logging.WARNING)
        patch.setattr(logging, "root", root)
        yield root


def test_a_record_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with fresh_root() as root:
        _log_to_stderr(None)
        root.info("greeting \x1b[31m%s", "Ada")

    assert capsys.readouterr().err.endswith(" INFO root: greeting \\x1b[31mAda\n")


def test_logging_that_the_module_set_up_stands() -> None:
    own = logging.NullHandler()
    with fresh_root() as root:
        root.addHandler(own)
        _log_to_stderr(None)

    assert (root.handlers, root.level) == ([own], logging.WARNING)
