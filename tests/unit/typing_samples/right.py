"""A user's file in which every type is right; both type checkers have to find it so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

from backlane import (
    AsyncClient,
    AsyncHandle,
    BackgroundExecution,
    Client,
    Context,
    Handle,
    Worker,
    declare,
)

worker = Worker("mail")


@dataclass
class Mail:
    """An input."""

    to: str


@worker.callable
async def greet(name: str) -> int:
    """Take one input."""
    return len(name)


@worker.callable(name="mail.send", priority=90, timeout=10)
def send(ctx: Context, mail: Mail) -> list[str]:
    """Take the context before the input."""
    return [mail.to, ctx.execution_id]


@worker.callable
def tick() -> bool:
    """Take nothing."""
    return True


@worker.callable()
async def tock(ctx: Context) -> str:
    """Take the context alone."""
    return ctx.tenant_id


@declare(name="mail.read", priority=90)
def read(mail: Mail) -> list[int]:
    """Take one input, elsewhere."""
    raise NotImplementedError


@declare
async def sweep() -> float:
    """Take nothing, elsewhere."""
    raise NotImplementedError


async def count(words: str) -> int:
    """Do what a step does."""
    return len(words)


def measure(words: str) -> float:
    """Do what a step of a plain callable does."""
    return len(words) / 2


async def steps(ctx: Context) -> None:
    """Follow the types of steps."""
    assert_type(await ctx.step("count", count, "a b", key="x"), int)

    @ctx.step
    async def fetch(url: str) -> list[str]:
        return [url]

    @ctx.step(name="other", key=str, kind="tool")
    async def fetch_other(url: str) -> bytes:
        return url.encode()

    assert_type(await fetch("x"), list[str])
    assert_type(await fetch_other("x"), bytes)
    await ctx.sleep(5)
    allowed: bool = await ctx.wait_for_input("approval", key="boss", timeout=5, type=bool)
    print(allowed)


def plain_steps(ctx: Context) -> None:
    """Follow them without await."""
    assert_type(ctx.step("measure", measure, "a b"), float)
    ctx.sleep(5)
    word: str = ctx.wait_for_input(type=str)
    print(word)


def produce(client: Client) -> None:
    """Follow the types of every call."""
    assert_type(tick(), bool)
    assert_type(client.enqueue(greet, "Ada"), Handle[int])
    assert_type(client.enqueue(greet, "Ada", priority=0, delay=5).result(timeout=1), int)
    assert_type(client.run(send, Mail("ada")), list[str])
    assert_type(client.run(tick), bool)
    assert_type(client.enqueue(tock), Handle[str])
    assert_type(client.enqueue_many(greet, ["a", "b"]), list[Handle[int]])
    assert_type(client.run("by.name", {"any": "json"}), Any)
    assert_type(client.get("exec_x"), BackgroundExecution)
    assert_type(client.enqueue(read, Mail("ada"), dedup_key=None, timeout=None), Handle[list[int]])
    assert_type(client.run(sweep), float)
    assert_type(client.handle("exec_x", greet), Handle[int])
    assert_type(client.handle("exec_x", tick).result(), bool)
    assert_type(client.handle("exec_x", read), Handle[list[int]])
    assert_type(client.handle("exec_x"), Handle[Any])
    assert_type(client.handle("exec_x", "by.name"), Handle[Any])


async def produce_async(client: AsyncClient) -> None:
    """Follow them once more."""
    assert_type(await greet(name="Ada"), int)
    assert_type(await client.enqueue(greet, "Ada"), AsyncHandle[int])
    assert_type(await client.run(send, Mail("ada")), list[str])
    assert_type(await (await client.enqueue(tick)).result(), bool)
    assert_type(await client.enqueue_many(greet, ["a"]), list[AsyncHandle[int]])
    assert_type(client.handle("exec_x", tock), AsyncHandle[str])
    assert_type(await client.enqueue(sweep), AsyncHandle[float])
