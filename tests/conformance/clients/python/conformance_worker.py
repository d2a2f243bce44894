"""A worker of the SDK for the conformance kit, with its callables and its variables."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
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


@dataclass
class Wait:
    """What to wait for. The SDK has one word for the name of a wait and the key of its input."""

    name: str
    key: str


@dataclass
class Steps:
    """The names of the steps, and what to wait for after them."""

    steps: list[str]
    wait: Wait | None = None


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


@worker.callable(name="conformance.steps", version="1")
async def steps(ctx: Context, given: Steps) -> dict[str, Any]:
    """Take a durable step for each name, and then wait for an input if told to."""
    outputs = [await ctx.step(name, _take, name) for name in given.steps]
    found = await ctx.wait_for_input(key=given.wait.key) if given.wait else None
    return {"outputs": outputs, "input": found}


async def _take(name: str) -> dict[str, str]:
    return {"name": name, "nonce": secrets.token_hex(8)}


@worker.callable(name="conformance.sum")
def add(given: Numbers) -> dict[str, float]:
    """Add up."""
    return {"sum": sum(given.numbers)}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    worker.run()
