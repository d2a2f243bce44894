"""Owns child processes that end when this process does, however it ends.

A child has one end of a pipe whose other end only its parent has. When the parent ends, also by
SIGKILL, the system closes that end, and a thread of the child stops the child with SIGTERM.
`PR_SET_PDEATHSIG` is not used: it acts when the thread that started the child ends.

A program that knows nothing of this has a `Guard` beside it, a small process with such a pipe.

Children that a program forks itself, as `multiprocessing` does, are the program's own.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_GUARD: Final = """
import os, sys
with open(int(sys.argv[1]), "rb", 0) as pipe:
    group = pipe.readline()
    if group and not pipe.read(1):
        os.killpg(int(group), 9)
"""
"""The program of a guard. It reads a number; a byte that follows is its dismissal."""
_held: set[int] = set()
"""The ends of pipes that this process keeps open."""


def start_child(
    module: str,
    arguments: Sequence[str],
    *,
    flags: Sequence[str] = (),
    **options: Any,  # noqa: ANN401  # those of `Popen`
) -> subprocess.Popen[bytes]:
    """Run a module as `python -m` does, in a process that is told to stop when this one ends.

    Args:
        module: the module's name.
        arguments: its arguments.
        flags: options of the interpreter.
        options: those of `subprocess.Popen`.
    """
    theirs, ours = os.pipe()
    command = [sys.executable, *flags, "-m", __name__, str(theirs), module, *arguments]
    _held.add(ours)
    try:
        process = subprocess.Popen(command, pass_fds=[theirs], **options)
    except BaseException:
        _let_go(ours)
        raise
    finally:
        os.close(theirs)
    weakref.finalize(process, _let_go, ours)
    return process


class Guard:
    """A process that kills a group of processes (SIGKILL) when this process ends."""

    def __init__(self) -> None:
        """Start it; it guards nothing yet."""
        theirs, self._pipe = os.pipe()
        _held.add(self._pipe)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _GUARD, str(theirs)],
                pass_fds=[theirs],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # A signal to the group of this process must not reach it.
                start_new_session=True,
            )
        except BaseException:
            _let_go(self._pipe)
            raise
        finally:
            os.close(theirs)

    def watch(self, group: int) -> None:
        """Guard a group; to be called once, when its first process has started."""
        self._write(f"{group}\n".encode())

    def dismiss(self) -> None:
        """End it; the group stays as it is. May be called again."""
        self._write(b"\n\n")
        _let_go(self._pipe)
        self._process.wait()

    def _write(self, text: bytes) -> None:
        # Somebody may have killed it, or it is dismissed already.
        with contextlib.suppress(OSError):
            if self._pipe in _held:
                os.write(self._pipe, text)


def _let_go(end: int) -> None:
    if end in _held:
        _held.remove(end)
        os.close(end)


def _let_go_of_all() -> None:
    """Close what a fork inherited: it must not keep the children of its parent alive."""
    for end in list(_held):
        _let_go(end)


os.register_at_fork(after_in_child=_let_go_of_all)


def _stop_at_end(pipe: int) -> None:
    """Stop this process when the other end of the pipe is closed."""
    # Nothing is ever written to the pipe.
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _main(pipe: int, module: str, arguments: Sequence[str]) -> None:
    os.set_inheritable(pipe, False)  # noqa: FBT003  # the name of the function says it
    threading.Thread(target=_stop_at_end, args=[pipe], name="parent-watch", daemon=True).start()
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
