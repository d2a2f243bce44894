"""A user's file in which each marked line has a type error; both checkers have to find each."""

from __future__ import annotations

from backlane import Client, Context, Worker, declare

worker = Worker("mail")


@worker.callable
async def greet(name: str) -> int:
    """Take one input."""
    return len(name)


@worker.callable
def tick(ctx: Context) -> bool:
    """Take the context alone."""
    return bool(ctx)


@declare(name="mail.read")
def read(name: str) -> int:
    """Take one input, elsewhere."""
    raise NotImplementedError


async def count(words: str) -> int:
    """Do what a step does."""
    return len(words)


async def steps(ctx: Context) -> None:
    """Make mistakes with steps."""
    words: str = await ctx.step("count", count, "a")  # wrong: an int
    await ctx.wait_for_input("aproval")  # wrong: no such reason
    ctx.step(7, count)  # wrong: not a name
    print(words)


def produce(client: Client) -> None:
    """Make mistakes."""
    client.enqueue(greet, 7)  # wrong: not a text
    client.enqueue(greet)  # wrong: no input
    client.run(tick, "x")  # wrong: takes none
    client.enqueue(greet, "Ada", priorty=1)  # wrong: no such option
    result: str = client.run(greet, "Ada")  # wrong: an int
    greet(7)  # wrong: called as a function
    print(result)
    client.enqueue(read, 7)  # wrong: not a text
    client.handle("exec_x", 7)  # wrong: no callable
    client.enqueue(read, "Ada", request_id=7)  # wrong: not a text


@worker.callable(priority="high")  # wrong: not a number
def other() -> None:
    """Take nothing."""
