"""Owns how a check says that the program under test breaks a rule."""

from __future__ import annotations


class BrokenRuleError(Exception):
    """The program broke a rule. The text says what it did and what it should have done."""


class UnfitError(BrokenRuleError):
    """The program cannot keep any rule as it is, so that other rules need not be checked."""


class NeverConnectedError(UnfitError):
    """The program opened no stream at all."""


class NotApplicableError(Exception):
    """The program does not offer what the rule is about. The text says what is missing."""


def demand(is_kept: object, otherwise: str) -> None:
    """Raise unless the rule is kept.

    Args:
        is_kept: what has to be true.
        otherwise: what the program did instead.

    Raises:
        BrokenRuleError: the rule is broken; its text is `otherwise`.
    """
    if not is_kept:
        raise BrokenRuleError(otherwise)
