"""A worker of the SDK for the conformance kit, with its four callables and its variables."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import Any

from backlane import Context, Failure, Worker

worker = Worker(
    worker_id=os.environ.get("BACKLANE_WORKER_NAME"),
    concurrency=int(os.environ.get("BACKLANE_CONCURRENCY", "4")),
    lease=int(os.environ.get("BACKLANE_LEASE_MS", "30000")) / 1000,
    drain_timeout=int(os.environ.get("BACKLANE_DRAIN_MS", "30000")) / 1000,
)


@dataclass
class Hold:
    """How long to hold; without a number, until it is told to stop."""

    ms: int | None = None


@dataclass
class Numbers:
    """What to add up."""

    numbers: list[float]


@worker.callable(name="conformance.echo")
async def echo(document: Any = None) -> Any:  # noqa: ANN401  # any JSON
    """Answer the input."""
    return document


@worker.callable(name="conformance.fail")
def fail(message: str) -> None:
    """Fail, and say the input."""
    raise Failure(message)


@worker.callable(name="conformance.hold")
async def hold(ctx: Context, how: Hold | None = None) -> None:
    """Run until the time is over, or until told to stop."""
    ctx.log.info("holding")
    await asyncio.sleep(3600 if how is None or how.ms is None else how.ms / 1000)


@worker.callable(name="conformance.sum")
def add(given: Numbers) -> dict[str, float]:
    """Add up."""
    return {"sum": sum(given.numbers)}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    worker.run()
