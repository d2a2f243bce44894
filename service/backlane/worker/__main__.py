"""Runs a plain worker as a process: `python -m backlane.worker TARGET NAME=MODULE:FUNCTION …`.

SIGTERM drains it: what runs is finished and answered, what waits is given back.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

from backlane.worker.journal import Journal
from backlane.worker.plain import Options, PlainWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backlane.worker.plain import Handler


def load_handler(text: str) -> tuple[str, Handler]:
    """Turn `NAME=MODULE:FUNCTION` into a callable's name and its handler.

    Raises:
        argparse.ArgumentTypeError: it has another form, or there is no such function.
    """
    name, _, place = text.partition("=")
    module, _, function = place.partition(":")
    try:
        handler = getattr(importlib.import_module(module), function)
    except (ValueError, ImportError, AttributeError) as error:
        message = f"{text!r} names no function as NAME=MODULE:FUNCTION does: {error}"
        raise argparse.ArgumentTypeError(message) from error
    return name, cast("Handler", handler)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m backlane.worker", description=__doc__)
    parser.add_argument("target", help="the server's address, HOST:PORT")
    parser.add_argument("handlers", nargs="+", type=load_handler, metavar="NAME=MODULE:FUNCTION")
    parser.add_argument("--worker-id", default=f"worker-{os.getpid()}")
    parser.add_argument("--tenant", action="append", default=[], help="may be repeated")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--room", type=int, default=16, help="leases that wait or run at once")
    parser.add_argument("--lease-ms", type=int, default=30_000)
    parser.add_argument("--journal", type=Path, help="file that accepted results are appended to")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Work until SIGTERM or SIGINT."""
    given = parse(arguments)
    options = Options(
        worker_id=given.worker_id,
        tenant_ids=given.tenant,
        threads=given.threads,
        room=given.room,
        lease_duration_ms=given.lease_ms,
    )
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(given.journal)) if given.journal else None
        worker = PlainWorker(given.target, dict(given.handlers), options, journal)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.drain())
        worker.run()


if __name__ == "__main__":
    main()
