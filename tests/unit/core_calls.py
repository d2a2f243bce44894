"""Calls of a core in this process, without a server and without gRPC."""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING

from backlane import _core

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from google.protobuf.message import Message


class RefusedCallError(Exception):
    """The core refused a call; the text is its message."""


@contextlib.contextmanager
def running(
    limits: Mapping[str, int] | None = None,
    *,
    data: Path | None = None,
    clock_ms: int | None = None,
) -> Iterator[_core.Core]:
    """A core that stops at the end; without `data` it keeps everything in memory.

    With `clock_ms` its clock stands at that instant, in milliseconds since the epoch.
    """
    core = _core.Core(
        data=None if data is None else str(data),
        limits=dict(limits or {}),
        manual_clock_ms=clock_ms,
    )
    try:
        yield core
    finally:
        core.stop()


def answer(core: _core.Core, name: str, request: Message) -> tuple[int, bytes]:
    """The ticket and the reply of the unary call of that name.

    Raises:
        RefusedCallError: it was refused.
    """
    paths = [path for path, _ in core.methods()]
    [method] = [number for number, path in enumerate(paths) if path.endswith(f"/{name}")]
    ticket = core.call(method, None, None, request.SerializeToString())
    core.wake()
    while True:
        select.select([core.fd], [], [])
        for which, code, payload, message in core.drain():
            if which == ticket:
                if code:
                    raise RefusedCallError(message)
                return ticket, payload


def call(core: _core.Core, name: str, request: Message) -> bytes:
    """The reply of the unary call of that name.

    Raises:
        RefusedCallError: it was refused.
    """
    _, reply = answer(core, name, request)
    return reply
