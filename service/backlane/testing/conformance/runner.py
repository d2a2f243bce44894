"""Owns the check of one program against all rules: a few at a time, each with its own run."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import (
    BrokenRuleError,
    NeverConnectedError,
    NotApplicableError,
    UnfitError,
)
from backlane.testing.conformance.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backlane.testing.conformance.rule import Rule

AT_ONCE: Final = 4
PATIENCE_S: Final = 10.0


@dataclass(frozen=True)
class Verdict:
    """The result of one rule.

    Attributes:
        rule: the rule.
        explanation: how the rule was broken, or why it does not apply; empty if it was kept.
        seconds: how long its run took.
        transcript: the last messages, if the rule was broken.
        stderr: the program's last lines on stderr, if the rule was broken.
        has_connected: whether the program opened a stream.
        is_fit: whether it makes sense to check other rules. It does not if the program never
            connected, or does not offer the callables of the rules.
        is_applicable: whether the rule is about something that the program offers.
    """

    rule: Rule
    explanation: str
    seconds: float
    transcript: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
    has_connected: bool = True
    is_fit: bool = True
    is_applicable: bool = True

    @property
    def is_kept(self) -> bool:
        """Whether the program keeps the rule."""
        return not self.explanation

    @property
    def is_broken(self) -> bool:
        """Whether the program breaks the rule."""
        return self.is_applicable and not self.is_kept


def check_rules(
    rules: Sequence[Rule], command: Sequence[str], patience_s: float = PATIENCE_S
) -> Iterator[Verdict]:
    """Check rules, and yield each verdict, in the order of the rules, when it is known.

    If the program does not connect for the first rule, or does not offer the callables of the
    rules, the other rules are not checked. If the iterator is closed early, as on Ctrl-C, running
    programs are killed.

    Args:
        rules: the rules to check.
        command: the program under test and its arguments.
        patience_s: how long to wait for any one event, in seconds.

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
    """The stages of a run, which can be ended from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Stage] = []
        self._is_given_up = False

    def add(self, stage: Stage) -> None:
        """Add a stage before its program starts."""
        with self._lock:
            self._all.append(stage)
            if self._is_given_up:
                stage.give_up()

    def give_up(self) -> None:
        """Kill running programs, and those that start later."""
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
    """Start the program for one rule and check it; the parameters are those of `check_rules`."""
    began = time.monotonic()
    with Stage(command, rule.settings, patience_s, rule.needs) as stage:
        if stages is not None:
            stages.add(stage)
        try:
            rule.check(stage)
        except NotApplicableError as error:
            took_s = time.monotonic() - began
            return Verdict(rule, str(error), took_s, is_applicable=False)
        except BrokenRuleError as error:
            broken: BrokenRuleError = error
            # Read now, since the messages at the end of the run do not belong to the breach.
            said = tuple(stage.transcript.lines())
        else:
            return Verdict(rule, "", time.monotonic() - began)
    # The program has ended, so that its stderr is complete.
    return Verdict(
        rule,
        str(broken),
        time.monotonic() - began,
        said,
        tuple(stage.stderr()),
        has_connected=not isinstance(broken, NeverConnectedError),
        is_fit=not isinstance(broken, UnfitError),
    )
