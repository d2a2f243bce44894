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
        name: the name of the rule.
        section: the section of proto/README.md.
        sentence: the rule in one sentence.
        settings: the settings of its run.
        check: plays a server for one run of the program.
        needs: a callable without which the rule does not apply to a program; None if there is none.
    """

    name: str
    section: str
    sentence: str
    settings: Settings
    check: Check
    needs: str | None = None


def rule(
    section: str, settings: Settings | None = None, needs: str | None = None
) -> Callable[[Check], Rule]:
    """Make a rule of a check. The check's docstring is the sentence, and its name the rule's.

    Args:
        section: the section of proto/README.md.
        settings: the settings of its run.
        needs: a callable without which the rule does not apply to a program.
    """

    def make(check: Check) -> Rule:
        name = getattr(check, "__name__", "").replace("_", "-")
        sentence = " ".join((check.__doc__ or "").split())
        return Rule(name, section, sentence, settings or Settings(), check, needs)

    return make
