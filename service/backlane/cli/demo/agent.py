"""The demo's agent and its worker: `python -m backlane.cli.demo.agent TARGET TENANT NAME FOLDER`.

The agent takes six steps, two of them at once, waits for an approval, and sleeps. Each step leaves
its name in a file, so that a step that was done twice would be seen.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

from backlane.worker import Context, Worker

CALLABLE: Final = "demo.research"
APPROVAL: Final = "editor"
"""The key of the input for which the agent waits."""
SEARCHES: Final = ("news", "papers")
EFFECTS: Final = ("plan", "search news", "search papers", "draft", "publish", "report")
"""The line that each step leaves."""
DRAFT_S: Final = 2.0
"""How long the fourth step takes, in seconds: enough to kill its worker."""
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
        place = await ctx.step("publish", self._publish, draft)
        return await ctx.step("report", self._report, place)

    async def _plan(self, question: str) -> str:
        return self._done("plan", f"look for {question}")

    async def _search(self, plan: str, place: str) -> str:
        return self._done(f"search {place}", f"{plan} in {place}: found")

    async def _draft(self, found: list[str]) -> str:
        await asyncio.sleep(DRAFT_S)
        return self._done("draft", "; ".join(found))

    async def _publish(self, draft: str) -> str:
        return self._done("publish", f"page of {len(draft)} characters")

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
    worker.callable(name=CALLABLE, version="1")(Agent(notes_in(folder)).research)
    worker.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
