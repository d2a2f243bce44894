"""The worker conformance kit, which plays a server and checks the behaviour of a worker program."""

from backlane.testing.conformance.program import CannotStartError
from backlane.testing.conformance.rule import Rule
from backlane.testing.conformance.rules import RULES
from backlane.testing.conformance.runner import PATIENCE_S, Verdict, check_rule, check_rules

__all__ = [
    "PATIENCE_S",
    "RULES",
    "CannotStartError",
    "Rule",
    "Verdict",
    "check_rule",
    "check_rules",
]
