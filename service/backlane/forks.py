"""Owns signals to children that a program forks itself, as `multiprocessing` does.

The children are the program's own. This file only sees to it that a signal ends them.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from typing import Final

_FATAL: Final = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a child, unless its parent handles them."""


@functools.cache
def deliver_to_forks() -> None:
    """Let signals end the children that this process forks, although it handles them itself.

    A child begins with the handlers of its parent, and Python forgets a signal that a handler
    noted before the child was set up. A pool of processes whose child lost its SIGTERM so would
    wait for it for ever. Therefore the signals wait until the child is set up.
    """
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)


_forking = threading.local()


def _hold() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _FATAL)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)
