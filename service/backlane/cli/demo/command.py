"""Owns `backlane demo` itself: its argument, its temporary folder, its exit status."""

from __future__ import annotations

import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backlane.cli.demo.agent import notes_in
from backlane.cli.demo.agent_story import PROGRAM, AgentStory
from backlane.cli.demo.crew import Crew
from backlane.cli.demo.files import choose_files
from backlane.cli.demo.narrator import Narrator
from backlane.cli.demo.story import TENANT, DemoFailedError, Story
from backlane.cli.options import option
from backlane.client import Client
from backlane.errors import BacklaneError
from backlane.testing.server import ServerProcess, ServerStartError

if TYPE_CHECKING:
    from backlane.cli.demo.agent_story import AgentVerdict
    from backlane.cli.demo.files import Choice
    from backlane.cli.demo.verdict import Verdict

INSTALLED = "site-packages"
"""A folder inside the standard library's in some installations, of any size."""


def command(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="The folder whose files are described. (default this Python's standard library)",
            show_default=False,
        ),
    ] = None,
    *,
    agent: Annotated[
        bool,
        option(
            "--agent",
            "Run one agent with durable steps, an approval and a sleep instead.",
            default="no",
        ),
    ] = False,
) -> None:
    """Describe every file below DIR, while a worker and the server are killed.

    A server on a temporary data directory and two workers compute SHA-256, line count and word
    count of each file. Then every result is compared with the file. Exit status: 0 all results
    are right, and none was lost or accepted twice; 1 otherwise; 2 DIR cannot be used.

    With --agent one execution takes six steps, two of them at once, and spawns two children. Its
    worker is killed after the third step, and the server while the agent waits for an approval.
    Exit status: 0 each step and each child was done exactly once; 1 otherwise.
    """
    if agent:
        if folder is not None:
            typer.echo("backlane: --agent takes no DIR", err=True)
            raise typer.Exit(2)
        _run_agent()
        return
    if folder is not None:
        place, choice = folder, _choose(folder)
    else:
        place = Path(sysconfig.get_path("stdlib"))
        choice = _choose(place, without=INSTALLED)
    with Narrator() as narrator, tempfile.TemporaryDirectory(prefix="backlane-demo-") as name:
        narrator.say(
            f"{len(choice.subjects)} files below {place}, {choice.skipped} unreadable ones skipped"
        )
        try:
            verdict = _play(choice, narrator, Path(name))
        except (DemoFailedError, BacklaneError, ServerStartError) as error:
            typer.echo(f"backlane: the demo failed: {error}", err=True)
            raise typer.Exit(1) from None
        narrator.show(verdict.table())
    if not verdict.is_good:
        typer.echo("backlane: some results are wrong, lost, or were accepted twice", err=True)
        raise typer.Exit(1)


def _run_agent() -> None:
    with Narrator() as narrator, tempfile.TemporaryDirectory(prefix="backlane-demo-") as name:
        try:
            verdict = _play_agent(narrator, Path(name))
        except (DemoFailedError, BacklaneError, ServerStartError, TimeoutError) as error:
            typer.echo(f"backlane: the demo failed: {error}", err=True)
            raise typer.Exit(1) from None
        narrator.show(verdict.table())
    if not verdict.is_good:
        typer.echo("backlane: some steps were lost, or done twice", err=True)
        raise typer.Exit(1)


def _play_agent(narrator: Narrator, folder: Path) -> AgentVerdict:
    with (
        ServerProcess.start(folder / "data", log=folder / "server.log") as server,
        Client(server.target, tenant=TENANT, call_timeout=60.0) as client,
        Crew(server.target, TENANT, folder, PROGRAM) as crew,
    ):
        narrator.say(f"server on {server.target}, data in {server.data}")
        return AgentStory(server, client, crew, narrator).play(notes_in(folder))


def _choose(place: Path, without: str = "") -> Choice:
    if not place.is_dir():
        why = "is not a folder" if place.exists() else "does not exist"
        typer.echo(f"backlane: {place} {why}", err=True)
        raise typer.Exit(2)
    choice = choose_files(place.resolve(), without)
    if not choice.subjects:
        typer.echo(f"backlane: there is no readable file below {place}", err=True)
        raise typer.Exit(2)
    return choice


def _play(choice: Choice, narrator: Narrator, folder: Path) -> Verdict:
    with (
        ServerProcess.start(folder / "data", log=folder / "server.log") as server,
        Client(server.target, tenant=TENANT, call_timeout=60.0) as client,
        Crew(server.target, TENANT, folder) as crew,
    ):
        narrator.say(f"server on {server.target}, data in {server.data}")
        return Story(server, client, crew, narrator).play(choice.subjects)
