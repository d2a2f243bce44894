"""Checks the small worker with each of its faults, and says where the kit finds too much or little.

    python -m tests.conformance.broken_workers.matrix [FAULT ...]

Every rule is checked against every fault, which takes some minutes; the tests check each fault
against the rules that are about it and their neighbours.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance import RULES, check_rule
from tests.conformance.broken_workers.faults import FAULTS, OTHERS_TOO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backlane.testing.conformance import Rule

SMALL: Final = (sys.executable, "-m", "tests.conformance.broken_workers.worker")
SHORT_S: Final = 3.0
"""What is waited for in vain, where a rule is broken, in seconds."""
LONG_S: Final = 10.0
AT_ONCE: Final = 8


def broken_by(pairs: Iterable[tuple[str, Rule]]) -> dict[str, set[str]]:
    """For each fault, those of the rules it is paired with that the worker with it breaks."""
    found: dict[str, set[str]] = {fault: set() for fault in FAULTS}
    pairs = list(pairs)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(_breaks, pairs))
    for (fault, rule), first in zip(pairs, verdicts, strict=True):
        is_meant = rule.name in FAULTS[fault]
        may_be = is_meant or OTHERS_TOO in FAULTS[fault]
        # A busy machine may have been late: what surprises is looked at again, alone and longer.
        is_surprise = not may_be if first else is_meant
        if _breaks((fault, rule), LONG_S) if is_surprise else first:
            found[fault].add(rule.name)
    return found


def _breaks(pair: tuple[str, Rule], patience_s: float = SHORT_S) -> bool:
    fault, rule = pair
    return check_rule(rule, [*SMALL, "--fault", fault], patience_s).is_broken


def unexpected(fault: str, broken: set[str]) -> list[str]:
    """How what was found differs from what should be: `+` too much, `-` too little."""
    meant = set(FAULTS[fault])
    much = set() if OTHERS_TOO in meant else broken - meant
    return [f"+{name}" for name in sorted(much)] + [
        f"-{name}" for name in sorted(meant - broken - {OTHERS_TOO})
    ]


def main() -> int:
    """Print a line for each fault; the exit status says whether all were found as they should."""
    faults = sys.argv[1:] or list(FAULTS)
    found = broken_by((fault, rule) for fault in faults for rule in RULES)
    wrong = {fault: unexpected(fault, found[fault]) for fault in faults}
    for fault, names in wrong.items():
        print(f"{fault:20} {' '.join(names) or 'as it should'}")
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
