"""Owns `backlane conformance`: plays a server for a worker program and checks its behaviour."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import option
from backlane.cli.tables import GAP, is_terminal, print_table
from backlane.cli.trouble import Trouble, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backlane.testing.conformance import Rule, Verdict

EXIT_BROKEN: Final = 1
WIDTH_MIN: Final = 40
INDENT: Final = 4 * " "


def _names(begun: str) -> list[str]:
    """Complete the name of a rule."""
    from backlane.testing.conformance import RULES

    return [rule.name for rule in RULES if rule.name.startswith(begun)]


Kind = Annotated[
    Literal["worker"],
    typer.Argument(metavar="worker", help="The kind of program to check.", show_default=False),
]
Program = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="-- COMMAND",
        help="The program and its arguments; BACKLANE_TARGET tells it the server's address.",
        show_default=False,
    ),
]
Names = Annotated[
    list[str] | None,
    option(
        "--rule",
        "Check this rule only; may be repeated.",
        default="all",
        metavar="NAME",
        autocompletion=_names,
    ),
]
Timeout = Annotated[
    float,
    option(
        "--timeout",
        "How long to wait for any one event, in seconds; the first connection may always take 20.",
        default="10",
        metavar="SECONDS",
        min=0.1,
    ),
]
Listing = Annotated[bool, option("--list", "List the rules and check nothing.", default="no")]
AsJson = Annotated[
    bool, option("--json", "Print one JSON object per rule, one per line.", default="no")
]


def command(
    kind: Kind,
    program: Program = None,
    *,
    rule: Names = None,
    timeout: Timeout = 10.0,
    listing: Listing = False,
    as_json: AsJson = False,
) -> int:
    """Check a worker program, in any language, against the rules of the protocol.

    The command plays the server, and starts the program once for each rule. The callables that the
    program must offer are described in backlane/testing/conformance/README.md. Exit status: 0 all
    rules that apply are kept; 1 some rules are broken; 2 the command cannot be run, or there is no
    such rule.
    """
    del kind  # There is one.
    from backlane.testing.conformance import CannotStartError, check_rules

    rules = _chosen(rule)
    if listing:
        _list(rules, as_json=as_json)
        return Exit.OK
    if not program:
        raise Trouble(
            "name the program after --, as in `backlane conformance worker -- python worker.py`",
            Exit.USAGE,
        )
    broken = idle = 0
    width = max(len(rule.name) for rule in rules)
    try:
        for verdict in check_rules(rules, program, timeout):
            _demand_fitness(verdict)
            broken += verdict.is_broken
            idle += not verdict.is_applicable
            typer.echo(_as_json(verdict) if as_json else _as_text(verdict, width))
            sys.stdout.flush()
    except CannotStartError as error:
        raise Trouble(str(error), Exit.USAGE) from error
    if not as_json:
        left_out = f", {idle} not applicable" if idle else ""
        typer.echo(f"{len(rules) - broken - idle} rules kept, {broken} broken{left_out}")
    return EXIT_BROKEN if broken else Exit.OK


def _demand_fitness(verdict: Verdict) -> None:
    """End the run if the program cannot keep any rule as it is."""
    if verdict.is_fit:
        return
    line = verdict.explanation
    if not verdict.has_connected and verdict.stderr:
        line += f"; its last line: {verdict.stderr[-1]}"
    raise Trouble(line, Exit.ENDED_OTHERWISE)


def _chosen(names: Sequence[str] | None) -> list[Rule]:
    from backlane.testing.conformance import RULES

    known = {rule.name: rule for rule in RULES}
    for name in names or ():
        if name not in known:
            raise Trouble(f"there is no rule {name}: see --list", Exit.USAGE)
    return [known[name] for name in dict.fromkeys(names)] if names else list(RULES)


def _list(rules: Iterable[Rule], *, as_json: bool) -> None:
    if not as_json and is_terminal():
        _list_wrapped(rules)
        return
    if not as_json:
        print_table(
            ["rule", "section", "what it demands"],
            [[rule.name, rule.section, rule.sentence] for rule in rules],
        )
        return
    for rule in rules:
        about = {"rule": rule.name, "section": rule.section, "sentence": rule.sentence}
        typer.echo(json.dumps(about, ensure_ascii=False))


def _list_wrapped(rules: Iterable[Rule]) -> None:
    """List the rules on a terminal, which may be too narrow for a table of sentences."""
    width = max(shutil.get_terminal_size().columns, WIDTH_MIN)
    for rule in rules:
        typer.echo(f"{typer.style(rule.name, bold=True)}{GAP}{rule.section}")
        indented = textwrap.wrap(rule.sentence, width - len(INDENT))
        typer.echo(textwrap.indent("\n".join(indented), INDENT))


def _as_json(verdict: Verdict) -> str:
    rule = verdict.rule
    about = {
        "rule": rule.name,
        "section": rule.section,
        "sentence": rule.sentence,
        "kept": verdict.is_kept,
        "applicable": verdict.is_applicable,
        "seconds": round(verdict.seconds, 3),
    }
    if not verdict.is_kept:
        about["explanation"] = verdict.explanation
    if verdict.is_broken:
        about["transcript"] = list(verdict.transcript)
        about["stderr"] = list(verdict.stderr)
    return json.dumps(about, ensure_ascii=False)


def _as_text(verdict: Verdict, width: int) -> str:
    """Lay out a verdict as a row, with an explanation below it if the rule is broken."""
    rule = verdict.rule
    mark, colour = ("kept  ", "green") if verdict.is_kept else ("BROKEN", "red")
    if not verdict.is_applicable:
        mark, colour = "n/a   ", "yellow"
    cells = [f"{rule.name:{width}}", f"{verdict.seconds:5.1f} s", rule.section]
    # typer leaves the colours out where stdout is not a terminal.
    lines = [GAP.join([typer.style(mark, colour), *cells])]
    if not verdict.is_applicable:
        lines.append(f"    Not applicable: {verdict.explanation}")
    if verdict.is_broken:
        lines += [f"    {verdict.explanation}", f"    The rule: {rule.sentence}"]
        lines += [f"      said    {line}" for line in verdict.transcript]
        lines += [f"      stderr  {line}" for line in verdict.stderr]
    return "\n".join([lines[0], *map(printable, lines[1:])])
