"""Owns a run of the rules against one program: a few at a time, each with a run of its own."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import BrokenRuleError, NeverConnectedError, UnfitError
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
        is_fit: whether other rules may tell more; not so where the program never connected, or
            does not offer what they lease.
    """

    rule: Rule
    explanation: str
    seconds: float
    transcript: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
    has_connected: bool = True
    is_fit: bool = True

    @property
    def is_kept(self) -> bool:
        """Whether the program keeps the rule."""
        return not self.explanation


def check_rules(
    rules: Sequence[Rule], command: Sequence[str], patience_s: float = PATIENCE_S
) -> Iterator[Verdict]:
    """Check rules, and yield the verdicts in the rules' order as soon as they are there.

    A program that does not connect for the first rule, or does not offer what rules lease, is not
    tried with the others. Programs that run are killed when the iterator ends early, as it does
    with Ctrl-C.

    Args:
        rules: which.
        command: the program under test and its arguments.
        patience_s: the longest that one thing is waited for, in seconds.

    Raises:
        CannotStartError: the command cannot be run.
    """
    first = check_rule(rules[0], command, patience_s)
    yield first
    if not first.is_fit:
        return
    stages = _Stages()
    pool = ThreadPoolExecutor(AT_ONCE, "rule")
    try:
        yield from pool.map(lambda rule: check_rule(rule, command, patience_s, stages), rules[1:])
    finally:
        stages.give_up()
        pool.shutdown(cancel_futures=True)


class _Stages:
    """The stages of a run, so that it can be ended from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Stage] = []
        self._is_given_up = False

    def add(self, stage: Stage) -> None:
        """Take a stage in before its program starts."""
        with self._lock:
            self._all.append(stage)
            if self._is_given_up:
                stage.give_up()

    def give_up(self) -> None:
        """Kill the programs that run, and those to come."""
        with self._lock:
            self._is_given_up = True
            for stage in self._all:
                stage.give_up()


def check_rule(
    rule: Rule,
    command: Sequence[str],
    patience_s: float = PATIENCE_S,
    stages: _Stages | None = None,
) -> Verdict:
    """Start the program for one rule and check it; parameters are as `check_rules` has them."""
    began = time.monotonic()
    with Stage(command, rule.settings, patience_s) as stage:
        if stages is not None:
            stages.add(stage)
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
        has_connected=not isinstance(broken, NeverConnectedError),
        is_fit=not isinstance(broken, UnfitError),
    )
