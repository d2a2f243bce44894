"""Owns what a rule is, and how its check says that it is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backlane.testing.conformance.stage import Stage

Check = Callable[["Stage"], None]


class BrokenRuleError(Exception):
    """The program broke a rule; the text says what it did, and what it should have done."""


class UnfitError(BrokenRuleError):
    """The program can keep no rule as it is, so that no other rule tells more."""


class NeverConnectedError(UnfitError):
    """The program opened no stream at all."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment of a run sets.

    Attributes:
        concurrency: BACKLANE_CONCURRENCY.
        lease_ms: BACKLANE_LEASE_MS.
        drain_ms: BACKLANE_DRAIN_MS.
    """

    concurrency: int = 2
    lease_ms: int = 3000
    drain_ms: int = 5000


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


def demand(is_kept: object, otherwise: str) -> None:
    """Raise unless the rule is kept.

    Raises:
        BrokenRuleError: it is not, with the text that says how.
    """
    if not is_kept:
        raise BrokenRuleError(otherwise)
