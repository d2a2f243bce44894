"""The demo's agent and its worker: `python -m backlane.cli.demo.agent TARGET TENANT NAME FOLDER`.

The agent takes six steps, two of them at once, waits for an approval, sleeps, and spawns two
children. Each step and each child leaves its name in a file, so that what was done twice would be
seen.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

from backlane.worker import Context, Worker

CALLABLE: Final = "demo.research"
CHILD: Final = "demo.translate"
APPROVAL: Final = "editor"
"""The key of the input for which the agent waits."""
SEARCHES: Final = ("news", "papers")
LANGUAGES: Final = ("German", "French")
STEPS: Final = ("plan", "search news", "search papers", "draft", "publish", "report")
"""The line that each step leaves."""
EFFECTS: Final = (*STEPS, *(f"translate {language}" for language in LANGUAGES))
"""The lines of all steps and children."""
DRAFT_S: Final = 2.0
"""How long the fourth step takes, in seconds: enough to kill its worker."""
CHILD_S: Final = 0.5
"""How long a child takes, in seconds: enough for its parent to wait without a worker."""
SLEEP_S: Final = 2.0
"""How long the agent sleeps, in seconds, without a worker."""
LEASE_S: Final = 2.0
"""Short, since the execution of a killed worker waits this long for another one."""


class Agent:
    """The agent of one worker."""

    def __init__(self, notes: Path) -> None:
        """Make an agent whose steps leave their names in a file."""
        self._notes = notes

    async def research(self, ctx: Context, question: str) -> str:
        """Find an answer, have it approved, and publish it."""
        plan = await ctx.step("plan", self._plan, question)
        found = await asyncio.gather(
            *(ctx.step("search", self._search, plan, place, key=place) for place in SEARCHES)
        )
        draft = await ctx.step("draft", self._draft, found)
        if not await ctx.wait_for_input("approval", key=APPROVAL, type=bool):
            return "not approved"
        await ctx.sleep(SLEEP_S)
        children = [
            await ctx.spawn(CHILD, [draft, language], key=language, name="translate")
            for language in LANGUAGES
        ]
        place = await ctx.step("publish", self._publish, await asyncio.gather(*children))
        return await ctx.step("report", self._report, place)

    async def translate(self, given: tuple[str, str]) -> str:
        """Translate a draft: the callable of the children."""
        draft, language = given
        await asyncio.sleep(CHILD_S)
        return self._done(f"translate {language}", f"{language}: {draft}")

    async def _plan(self, question: str) -> str:
        return self._done("plan", f"look for {question}")

    async def _search(self, plan: str, place: str) -> str:
        return self._done(f"search {place}", f"{plan} in {place}: found")

    async def _draft(self, found: list[str]) -> str:
        await asyncio.sleep(DRAFT_S)
        return self._done("draft", "; ".join(found))

    async def _publish(self, texts: list[str]) -> str:
        return self._done("publish", f"{len(texts)} pages of {sum(map(len, texts))} characters")

    async def _report(self, place: str) -> str:
        return self._done("report", f"published: {place}")

    def _done(self, effect: str, output: str) -> str:
        with self._notes.open("a", encoding="utf-8") as file:
            file.write(f"{effect}\n")
        return output


def notes_in(folder: Path) -> Path:
    """Return the file in which the steps of all workers leave their names."""
    return folder / "notes"


def main(target: str, tenant: str, name: str, folder: Path) -> None:
    """Work until SIGTERM."""
    worker = Worker(worker_id=name, target=target, tenants=tenant, lease=LEASE_S)
    agent = Agent(notes_in(folder))
    worker.callable(name=CALLABLE, version="1")(agent.research)
    worker.callable(name=CHILD)(agent.translate)
    worker.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
