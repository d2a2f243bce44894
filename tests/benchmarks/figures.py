"""Owns measured figures, their targets, and how they are printed."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from tests.benchmarks.cpu import CpuUse


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured value.

    Attributes:
        name: what was measured.
        value: the figure itself; of several rounds their median.
        unit: its unit.
        rounds: the value of each round, where there were several.
        at_least: the target, where more is better.
        at_most: the target, where less is better.
    """

    name: str
    value: float
    unit: str
    rounds: tuple[float, ...] = ()
    at_least: float | None = None
    at_most: float | None = None

    @classmethod
    def of_rounds(
        cls, name: str, rounds: Sequence[float], unit: str, *, at_least: float | None = None
    ) -> Self:
        """Make a figure of several rounds."""
        value = statistics.median(rounds)
        return cls(name=name, value=value, unit=unit, rounds=tuple(rounds), at_least=at_least)

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None if there is no target."""
        if self.at_least is not None:
            return self.value >= self.at_least
        if self.at_most is not None:
            return self.value <= self.at_most
        return None

    @property
    def target(self) -> str:
        """The target as text; empty if there is none."""
        if self.at_least is not None:
            return f"≥ {shorten(self.at_least)}"
        return "" if self.at_most is None else f"≤ {shorten(self.at_most)}"


@dataclass
class Report:
    """The results of one run of the benchmark.

    Attributes:
        machine: what it ran on, by name.
        figures: the figures of each workload.
        cpu: who used the processor in each workload, stage by stage.
        is_quick: whether counts were too small to judge targets by.
    """

    machine: dict[str, str]
    is_quick: bool
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    cpu: dict[str, list[CpuUse]] = field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        """Whether no target was missed."""
        figures = (figure for group in self.figures.values() for figure in group)
        return all(figure.is_met is not False for figure in figures)

    def as_json(self) -> str:
        """Return everything as one JSON object."""
        return json.dumps(
            {
                "machine": self.machine,
                "quick": self.is_quick,
                "figures": {
                    workload: [_figure_json(figure) for figure in group]
                    for workload, group in self.figures.items()
                },
                "cpu": {
                    workload: [asdict(use) for use in uses] for workload, uses in self.cpu.items()
                },
            },
            indent=2,
        )

    def print_machine(self, console: Console) -> None:
        """Print the facts about the machine."""
        for name, value in self.machine.items():
            console.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)

    def print_workload(self, console: Console, workload: str, *, with_cpu: bool) -> None:
        """Print one workload's figures, and the processor times if asked for."""
        table = Table("figure", "value", "rounds", "target", "", title=workload)
        for figure in self.figures[workload]:
            table.add_row(*_row(figure, is_judged=not self.is_quick))
        console.print(table)
        if with_cpu:
            for use in self.cpu.get(workload, ()):
                console.print(use.describe(), markup=False, highlight=False, soft_wrap=True)
        for use in self.cpu.get(workload, ()):
            if use.is_disturbed:
                share = use.other_s / use.wall_s
                console.print(
                    f"doubtful: {use.stage}: other programs used {share:.2f} of a processor"
                )
        if self.is_quick:
            console.print("quick run: too short to compare with the targets", markup=False)


def shorten(value: float) -> str:
    """Write a number with about three digits, and with spaces between thousands."""
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.4g}" if abs(value) >= 1 else f"{value:.3g}"


def _row(figure: Figure, *, is_judged: bool) -> tuple[str, ...]:
    span = ""
    if len(figure.rounds) > 1:
        span = f"{shorten(min(figure.rounds))} … {shorten(max(figure.rounds))}"
    verdict = {None: "", True: "met", False: "not met"}[figure.is_met if is_judged else None]
    return figure.name, f"{shorten(figure.value)} {figure.unit}", span, figure.target, verdict


def _figure_json(figure: Figure) -> dict[str, Any]:
    return asdict(figure) | {"is_met": figure.is_met}
