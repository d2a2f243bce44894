"""Owns `backlane worker --reload`: a worker process that is restarted when sources change."""

from __future__ import annotations

import importlib.util
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backlane.children import start_child
from backlane.cli.exits import Exit
from backlane.cli.trouble import Trouble, say
from backlane.worker.signals import stop_signals

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from types import FrameType

LOOK_MS: Final = 250
"""How often to check whether the worker has ended by itself, in milliseconds."""


def run_reloading(app: str, arguments: Sequence[str]) -> int:
    """Run a worker until a stop signal; drain it and start it again when a source changes.

    Args:
        app: `MODULE:WORKER`.
        arguments: the arguments of this command, including `--reload`.

    Raises:
        Trouble: the library watchfiles is not installed.
    """
    try:
        import watchfiles
    except ModuleNotFoundError:
        raise Trouble(
            "--reload needs the library watchfiles: pip install 'backlane[reload]'", Exit.USAGE
        ) from None
    folders = _folders(app.partition(":")[0])
    process = _Process([word for word in arguments if word != "--reload"])
    process.start()
    changes = watchfiles.watch(
        *folders,
        watch_filter=watchfiles.PythonFilter(),
        stop_event=process.is_told,
        rust_timeout=LOOK_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    for changed in changes:
        if changed:
            process.restart(sorted({Path(path).name for _, path in changed}))
        else:
            process.look()
    return process.wait()


class _Process:
    """The worker's process. A stop signal to the parent drains it and ends the restarts."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = list(arguments)
        self._worker: subprocess.Popen[bytes] | None = None
        self._is_told_of_its_end = False
        self.is_told = threading.Event()
        for number in stop_signals():
            signal.signal(number, self._tell)

    def start(self) -> None:
        """Start the worker."""
        # -P keeps modules of the current folder from taking the place of Backlane's own. Ctrl-C
        # reaches the parent only, which then drains the worker.
        self._worker = start_child("backlane", self._arguments, flags=["-P"], process_group=0)
        self._is_told_of_its_end = False
        if self.is_told.is_set():
            self._worker.terminate()

    def restart(self, changed: Sequence[str]) -> None:
        """Drain the worker and start it again."""
        say(f"{', '.join(changed)} changed: draining and restarting the worker")
        self._drain()
        self.wait()
        if not self.is_told.is_set():
            self.start()

    def look(self) -> None:
        """Report once that the worker has ended by itself."""
        status = self._worker.poll() if self._worker else None
        if status is None or self._is_told_of_its_end or self.is_told.is_set():
            return
        self._is_told_of_its_end = True
        say(f"the worker {_end(status)}: it starts again when a source file changes")

    def wait(self) -> int:
        """Wait for the worker's end, and return a status to exit with, also if it was killed."""
        status = self._worker.wait() if self._worker else Exit.OK
        return status if status >= 0 else Exit.INTERRUPTED

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        self.is_told.set()
        self._drain()

    def _drain(self) -> None:
        if self._worker is not None:
            self._worker.terminate()


def _end(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was killed by signal {-status}"


def _folders(module: str) -> list[Path]:
    """Return the folders to watch: the current one and the module's."""
    folders = {Path.cwd()}
    try:
        spec = importlib.util.find_spec(module.partition(".")[0]) if module else None
    except ValueError:
        spec = None  # for `__main__`, which is this command
    if spec is not None and spec.origin is not None:
        folders.add(Path(spec.origin).resolve().parent)
    # A folder inside another is watched with that one.
    return [one for one in folders if not any(other in one.parents for other in folders)]
