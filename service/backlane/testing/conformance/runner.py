"""Owns a run of the rules against one program: a few at a time, each with a run of its own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.rule import BrokenRuleError, NeverConnectedError
from backlane.testing.conformance.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backlane.testing.conformance.rule import Rule

AT_ONCE: Final = 4
PATIENCE_S: Final = 10.0


@dataclass(frozen=True)
class Verdict:
    """What became of one rule.

    Attributes:
        rule: which.
        explanation: how it was broken; empty where it was kept.
        seconds: how long its run took.
        transcript: the end of the conversation, where it was broken.
        stderr: the program's last lines, where it was broken.
        has_connected: whether the program opened a stream at all.
    """

    rule: Rule
    explanation: str
    seconds: float
    transcript: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
    has_connected: bool = True

    @property
    def is_kept(self) -> bool:
        """Whether the program keeps the rule."""
        return not self.explanation


def check_rules(
    rules: Sequence[Rule], command: Sequence[str], patience_s: float = PATIENCE_S
) -> Iterator[Verdict]:
    """Check rules, and yield the verdicts in the rules' order as soon as they are there.

    A program that does not connect for the first rule is not tried with the others.

    Args:
        rules: which.
        command: the program under test and its arguments.
        patience_s: the longest that one thing is waited for, in seconds.

    Raises:
        CannotStartError: the command cannot be run.
    """
    first = check_rule(rules[0], command, patience_s)
    yield first
    if not first.has_connected:
        return
    with ThreadPoolExecutor(AT_ONCE, "rule") as pool:
        yield from pool.map(lambda rule: check_rule(rule, command, patience_s), rules[1:])


def check_rule(rule: Rule, command: Sequence[str], patience_s: float = PATIENCE_S) -> Verdict:
    """Start the program for one rule and check it; parameters are as `check_rules` has them."""
    began = time.monotonic()
    with Stage(command, rule.settings, patience_s) as stage:
        try:
            rule.check(stage)
        except BrokenRuleError as error:
            broken: BrokenRuleError = error
            # Before the end of the run, which is no part of what went wrong.
            said = tuple(stage.transcript.lines())
        else:
            return Verdict(rule, "", time.monotonic() - began)
    # The program is dead by now, and has said its last.
    return Verdict(
        rule,
        str(broken),
        time.monotonic() - began,
        said,
        tuple(stage.stderr()),
        not isinstance(broken, NeverConnectedError),
    )
