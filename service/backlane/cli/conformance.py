"""Owns `backlane conformance`: plays a server for a worker, and says which rules it keeps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from backlane.cli.exits import Exit
from backlane.cli.options import option
from backlane.cli.tables import print_table
from backlane.cli.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backlane.testing.conformance import Rule, Verdict

EXIT_BROKEN: Final = 1

Kind = Annotated[
    Literal["worker"],
    typer.Argument(metavar="worker", help="What is checked.", show_default=False),
]
Program = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="-- COMMAND",
        help="The program and its arguments; it finds its server in BACKLANE_TARGET.",
        show_default=False,
    ),
]
Names = Annotated[
    list[str] | None,
    option("--rule", "Check this rule alone; may be repeated.", default="all", metavar="NAME"),
]
Timeout = Annotated[
    float,
    option(
        "--timeout",
        "The longest that any one thing is waited for, in seconds.",
        default="10",
        metavar="SECONDS",
        min=0.1,
    ),
]
Listing = Annotated[bool, option("--list", "List the rules, and check nothing.", default="no")]
AsJson = Annotated[
    bool, option("--json", "Print one JSON object for each rule, a line each.", default="no")
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
    """Play a server for a worker program, in any language, and check the protocol's rules.

    Each rule has a run of the program to itself. What the program has to offer is written in
    backlane/testing/conformance/README.md. Exit status: 0 it keeps them all; 1 it breaks some;
    2 the command cannot be run, or there is no such rule.
    """
    del kind  # There is one.
    from backlane.testing.conformance import CannotStartError, check_rules

    rules = _chosen(rule)
    if listing:
        _list(rules, as_json=as_json)
        return Exit.OK
    if not program:
        raise Trouble("name the program after --, such as -- python worker.py", Exit.USAGE)
    verdicts = []
    try:
        for verdict in check_rules(rules, program, timeout):
            verdicts.append(verdict)
            _say(verdict, as_json=as_json)
    except CannotStartError as error:
        raise Trouble(str(error), Exit.USAGE) from error
    broken = sum(not verdict.is_kept for verdict in verdicts)
    if not as_json:
        left = len(rules) - len(verdicts)
        skipped = f", {left} not tried" if left else ""
        typer.echo(f"{len(verdicts) - broken} rules kept, {broken} broken{skipped}")
    return EXIT_BROKEN if broken else Exit.OK


def _chosen(names: Sequence[str] | None) -> list[Rule]:
    from backlane.testing.conformance import RULES

    known = {rule.name: rule for rule in RULES}
    for name in names or ():
        if name not in known:
            raise Trouble(f"there is no rule {name}; --list shows them", Exit.USAGE)
    return [known[name] for name in dict.fromkeys(names)] if names else list(RULES)


def _list(rules: Iterable[Rule], *, as_json: bool) -> None:
    if not as_json:
        print_table(
            ["rule", "section", "what it demands"],
            [[rule.name, rule.section, rule.sentence] for rule in rules],
        )
        return
    for rule in rules:
        about = {"rule": rule.name, "section": rule.section, "sentence": rule.sentence}
        typer.echo(json.dumps(about, ensure_ascii=False))


def _say(verdict: Verdict, *, as_json: bool) -> None:
    rule = verdict.rule
    if as_json:
        about = {
            "rule": rule.name,
            "section": rule.section,
            "sentence": rule.sentence,
            "kept": verdict.is_kept,
            "seconds": round(verdict.seconds, 3),
        }
        if not verdict.is_kept:
            about["explanation"] = verdict.explanation
            about["transcript"] = list(verdict.transcript)
            about["stderr"] = list(verdict.stderr)
        typer.echo(json.dumps(about, ensure_ascii=False))
        return
    mark, colour = ("kept  ", "green") if verdict.is_kept else ("BROKEN", "red")
    # Colours are left out by themselves where nobody looks.
    typer.echo(f"{typer.style(mark, colour)}  {rule.name}")
    if not verdict.is_kept:
        typer.echo(f"    {verdict.explanation}")
        typer.echo(f"    {rule.section}: {rule.sentence}")
        for title, lines in (("said", verdict.transcript), ("stderr", verdict.stderr)):
            for line in lines:
                typer.echo(f"      {title}: {line}")
