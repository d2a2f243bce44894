"""Owns `backlane graph`: what an execution waits for, and what that waits for in turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import AsJson, ExecutionId, Place, option, spread
from backlane.cli.trouble import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from backlane import Client
    from backlane.schema.records import BackgroundExecution

EXITS = (Exit.OK, Exit.USAGE, Exit.NOT_FOUND, Exit.UNAVAILABLE)
SHOWN_MAX: Final = 1000
"""The most executions of a graph that are read."""
AT_ONCE: Final = 16
"""How many of them are read in full at the same time."""


class Form(StrEnum):
    """The forms of a graph."""

    TREE = "tree"
    DOT = "dot"
    MERMAID = "mermaid"


@dataclass
class Graph:
    """An execution, all that it depends on, and what could not be read.

    Attributes:
        records: the executions by id, in the order in which they were found.
        gone: the ids of executions that retention has removed.
        is_cut: whether the graph has more executions than are read.
    """

    records: dict[str, BackgroundExecution] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    is_cut: bool = False

    def label(self, execution_id: str) -> str:
        """Return the callable and the status of an execution."""
        record = self.records.get(execution_id)
        if record is None:
            return "removed" if execution_id in self.gone else "not read"
        return f"{record.callable_name} {record.status}"

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield each dependency with the execution that waits for it."""
        for execution_id, record in self.records.items():
            for dependency in record.depends_on:
                yield dependency, execution_id

    def ids(self) -> list[str]:
        """Return the ids of all executions that the graph names."""
        named = [*self.records, *(dependency for dependency, _ in self.edges())]
        return list(dict.fromkeys(named))


@spread
def command(
    execution_id: ExecutionId,
    *,
    place: Place,
    form: Annotated[
        Form,
        option(
            "--format",
            "A tree for people, or the text of a graph for Graphviz or Mermaid.",
            default="tree",
        ),
    ] = Form.TREE,
    as_json: AsJson = False,
) -> int:
    """Show an execution with all that it depends on, and their states.

    In the tree an execution comes before those that it waits for. What several executions wait for
    is written out once. With --json the record of each execution is printed, the nearest first.
    """
    from backlane.cli.connection import connect

    with connect(place) as client:
        graph = read(client, execution_id, in_full=as_json)
    write = {Form.TREE: tree, Form.DOT: dot, Form.MERMAID: mermaid}[form]
    for line in documents(graph) if as_json else write(graph):
        typer.echo(line)
    if graph.is_cut:
        say(f"the graph has more than {SHOWN_MAX} executions; the others are left out")
    return Exit.OK


def read(client: Client, execution_id: str, *, in_full: bool = False) -> Graph:
    """Read an execution and all that it depends on, the nearest first and those of a level at once.

    Args:
        client: reads the records.
        execution_id: the execution.
        in_full: whether the inputs and outputs are read too, with one call for each execution.
    """
    graph = Graph({execution_id: client.get(execution_id)})
    level = [execution_id]
    while found := _below(graph, level):
        level = found[: SHOWN_MAX - len(graph.records)]
        graph.is_cut = len(level) < len(found)
        if not level:
            break
        for name, outcome in zip(level, _looked_at(client, level, in_full=in_full), strict=True):
            if outcome is None:
                graph.gone.add(name)
            else:
                graph.records[name] = outcome
    return graph


def _below(graph: Graph, level: Iterable[str]) -> list[str]:
    """Return what some executions wait for and was not looked at yet, in order."""
    records = [graph.records[name] for name in level if name in graph.records]
    named = dict.fromkeys(name for record in records for name in record.depends_on)
    return [name for name in named if name not in graph.records and name not in graph.gone]


def _looked_at(
    client: Client, level: Sequence[str], *, in_full: bool
) -> list[BackgroundExecution | None]:
    """Return the record of each execution; None for those that retention has removed."""
    from concurrent.futures import ThreadPoolExecutor

    from backlane.errors import BacklaneError, ExecutionNotFoundError

    def read_one(execution_id: str) -> BackgroundExecution | None:
        try:
            return client.get(execution_id)
        except ExecutionNotFoundError:
            return None

    if in_full:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(read_one, level))
    records: list[BackgroundExecution | None] = []
    # A wait of no time looks at up to 1 000 executions at once, without inputs and outputs.
    for outcome in client.wait(level, timeout=0).outcomes:
        if not isinstance(outcome, BacklaneError):
            records.append(outcome)
        elif isinstance(outcome, ExecutionNotFoundError):
            records.append(None)
        else:
            raise outcome
    return records


def documents(graph: Graph) -> Iterator[str]:
    """Yield the record of each execution as JSON."""
    for record in graph.records.values():
        yield record.to_json()


def tree(graph: Graph) -> Iterator[str]:
    """Yield the lines of a tree, whose root is the execution that was asked for."""
    written: set[str] = set()
    waiting = [(next(iter(graph.records)), "", "")]
    while waiting:
        execution_id, lead, rest = waiting.pop()
        record = graph.records.get(execution_id)
        again = execution_id in written and record is not None and record.depends_on
        yield f"{lead}{graph.label(execution_id)} {execution_id}{' (above)' if again else ''}"
        if record is None or execution_id in written:
            continue
        written.add(execution_id)
        below = list(record.depends_on)
        for dependency in reversed(below):
            is_last = dependency == below[-1]
            corner, line = ("└── ", "    ") if is_last else ("├── ", "│   ")
            waiting.append((dependency, rest + corner, rest + line))


def dot(graph: Graph) -> Iterator[str]:
    """Yield the lines of a graph for Graphviz; an arrow leads to what waits."""
    yield "digraph executions {"
    for execution_id in graph.ids():
        yield f'  "{execution_id}" [label="{graph.label(execution_id)}"];'
    for dependency, execution_id in graph.edges():
        yield f'  "{dependency}" -> "{execution_id}";'
    yield "}"


def mermaid(graph: Graph) -> Iterator[str]:
    """Yield the lines of a graph for Mermaid; an arrow leads to what waits."""
    yield "flowchart TD"
    for execution_id in graph.ids():
        yield f'  {execution_id}["{graph.label(execution_id)}"]'
    for dependency, execution_id in graph.edges():
        yield f"  {dependency} --> {execution_id}"
