"""Owns the order of events in `backlane demo --agent`, and the comparison at its end."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table

from backlane.cli.demo.agent import APPROVAL, CALLABLE, EFFECTS, LEASE_S, SLEEP_S
from backlane.cli.demo.story import DemoFailedError
from backlane.cli.durations import show_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from backlane.cli.demo.crew import Crew
    from backlane.cli.demo.narrator import Narrator
    from backlane.client import Client
    from backlane.schema.runs import ExecutionRun, StepRecord
    from backlane.testing.server import ServerProcess

PROGRAM: Final = "backlane.cli.demo.agent"
QUESTION: Final = "durable steps"
BEFORE_KILL: Final = 3
"""How many steps are done when the worker is killed."""
POLL_S: Final = 0.05
"""How often the run is looked at, in seconds: no call waits for a step, or for a wait to begin."""
STALL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class AgentVerdict:
    """What is compared at the end.

    Attributes:
        run: what the server recorded.
        effects: how often each step's function and each child ran to its end.
        output: the output of the execution.
    """

    run: ExecutionRun
    effects: Mapping[str, int]
    output: object

    @property
    def is_good(self) -> bool:
        """Whether the run completed, and each step and each child was done exactly once."""
        is_done = self.run.state == "Completed" and str(self.output).startswith("published")
        return is_done and self.effects == dict.fromkeys(EFFECTS, 1)

    def table(self) -> Table:
        """Return the steps as a table, each with the number of its side effects."""
        table = Table("step", "state", "took", "side effects", title="backlane demo --agent")
        table.columns[3].justify = "right"
        for step in self.run.steps:
            count = self.effects.get(_effect(step), 0) if step.state == "Completed" else None
            is_wait = step.step_type == "wait"
            table.add_row(
                f"{step.name} {step.key or ''}".strip(),
                step.state.lower() + (f" ({step.error.code})" if step.error else ""),
                "" if step.duration is None else show_duration(step.duration),
                "" if is_wait or count is None else str(count),
            )
        return table


@dataclass
class AgentStory:
    """One run of the agent, against a server that is up."""

    server: ServerProcess
    client: Client
    crew: Crew
    narrator: Narrator

    def play(self, notes: Path) -> AgentVerdict:
        """Run the agent, kill its worker and the server meanwhile, and compare.

        Args:
            notes: the file in which the steps leave their names.

        Raises:
            DemoFailedError: the agent did not go on.
        """
        handle = self.client.enqueue(CALLABLE, QUESTION)
        first = self.crew.hire()
        self.narrator.say(f"{first.worker_id} started; the agent has six steps")
        self._until(lambda: _is_in_next(handle.execution_run()))
        self.crew.replace(first)
        self.narrator.say(
            f"{first.worker_id} killed (SIGKILL) after {BEFORE_KILL} steps, in the next one; "
            f"another worker gets the execution in about {LEASE_S:.0f} s"
        )
        self._until(lambda: handle.execution_run().state == "Waiting")
        self.narrator.say(f"the agent waits for the approval {APPROVAL!r}, without a worker")
        self.server.restart()
        self.narrator.say("server killed (SIGKILL) and started again during the wait")
        handle.provide_input(APPROVAL, value=True)
        self.narrator.say(
            f"approved; the agent sleeps for {SLEEP_S:.0f} s and then waits for its two children, "
            "both without a worker"
        )
        output = handle.result(timeout=STALL_S)
        self.narrator.say(f"completed: {output}")
        if not self.crew.dismiss_all():
            raise DemoFailedError("a worker did not drain cleanly")
        effects = Counter(notes.read_text(encoding="utf-8").splitlines())
        return AgentVerdict(handle.execution_run(), dict(effects), output)

    def _until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STALL_S
        while not is_so():
            if time.monotonic() > deadline:
                raise DemoFailedError(f"the agent has not moved for {STALL_S:.0f} s")
            time.sleep(POLL_S)


def _is_in_next(run: ExecutionRun) -> bool:
    """Tell whether enough steps have completed, and the next one runs."""
    states = Counter(step.state for step in run.steps)
    return states["Completed"] >= BEFORE_KILL and states["Running"] > 0


def _effect(step: StepRecord) -> str:
    return f"{step.name} {step.key}" if step.key else step.name
