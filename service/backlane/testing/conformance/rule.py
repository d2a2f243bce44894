"""Owns what a rule is: a name, a sentence, the settings of its run, and a check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backlane.testing.conformance.stage import Settings, Stage

Check = Callable[[Stage], None]


@dataclass(frozen=True)
class Rule:
    """One rule of the protocol.

    Attributes:
        name: how it is chosen and shown.
        section: where proto/README.md has it.
        sentence: what it demands.
        settings: the environment of its run.
        check: plays a server for one run of the program.
    """

    name: str
    section: str
    sentence: str
    settings: Settings
    check: Check


def rule(section: str, settings: Settings | None = None) -> Callable[[Check], Rule]:
    """Make a rule of a check, named like it, whose docstring is the sentence.

    Args:
        section: where proto/README.md has it.
        settings: the environment of its run.
    """

    def make(check: Check) -> Rule:
        name = getattr(check, "__name__", "").replace("_", "-")
        sentence = " ".join((check.__doc__ or "").split())
        return Rule(name, section, sentence, settings or Settings(), check)

    return make
