"""Owns the comparison at the end: the server's results against the files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from backlane.cli.demo.callables import describe_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from backlane.cli.demo.callables import Question
    from backlane.cli.demo.files import Subject
    from backlane.schema.records import BackgroundExecution


@dataclass(frozen=True, slots=True)
class Sent:
    """An acknowledged enqueue: its file and its input."""

    subject: Subject
    question: Question


@dataclass(slots=True)
class Verdict:
    """The counts of the demo's table.

    Attributes:
        enqueued: acknowledged enqueues.
        completed: those that ended with a result.
        retried: those that took more than one attempt.
        changed: those whose file changed meanwhile, so that nothing can be compared.
        wrong: those with a wrong input or a wrong result.
        lost: those that are missing, or never ended.
        accepted_twice: those with an accepted result from two leases.
        seconds: how long the work took, including both kills.
    """

    enqueued: int
    completed: int = 0
    retried: int = 0
    changed: int = 0
    wrong: int = 0
    lost: int = 0
    accepted_twice: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether every enqueued execution ended exactly once with the right result."""
        failed = self.enqueued - self.completed - self.lost
        return not self.lost + self.wrong + self.accepted_twice and failed <= self.changed

    def table(self) -> Table:
        """Return the counts as a table."""
        table = Table("", "executions", title="backlane demo")
        table.columns[1].justify = "right"
        for name in ("enqueued", "completed", "retried", "changed", "wrong", "lost"):
            table.add_row(name, str(getattr(self, name)))
        table.add_row("accepted twice", str(self.accepted_twice))
        rate = self.completed / self.seconds if self.seconds else 0.0
        table.add_row("completed per second", f"{rate:.0f}")
        return table


def judge(
    sent: Mapping[str, Sent],
    found: Iterable[BackgroundExecution],
    accepted: Iterable[tuple[str, str]],
    advance_to: Callable[[int], None],
) -> Verdict:
    """Compare the server's records with the enqueues, and each result with the file.

    Args:
        sent: the acknowledged enqueues by execution id.
        found: the server's records, in full.
        accepted: execution and lease token of each completion that a worker saw accepted.
        advance_to: told how many results are compared.
    """
    verdict = Verdict(enqueued=len(sent), accepted_twice=count_accepted_twice(accepted))
    seen: set[str] = set()
    for record in found:
        if record.execution_id in sent:
            seen.add(record.execution_id)
            _judge_one(verdict, sent[record.execution_id], record)
            advance_to(len(seen))
    verdict.lost += len(sent) - len(seen)
    return verdict


def count_accepted_twice(accepted: Iterable[tuple[str, str]]) -> int:
    """Count executions with accepted completions under more than one lease token."""
    leases = Counter(execution for execution, _ in set(accepted))
    return sum(1 for count in leases.values() if count > 1)


def _judge_one(verdict: Verdict, sent: Sent, record: BackgroundExecution) -> None:
    verdict.completed += record.is_success
    verdict.retried += record.attempt > 1
    verdict.lost += not record.is_finished
    if sent.subject.has_changed():
        verdict.changed += 1
    elif not (record.is_success and _is_asked(sent, record) and _is_right(sent, record)):
        verdict.wrong += 1


def _is_asked(sent: Sent, record: BackgroundExecution) -> bool:
    asked = {"path": str(sent.question.path), "pace_s": sent.question.pace_s}
    return record.input is not None and json.loads(record.input) == asked


def _is_right(sent: Sent, record: BackgroundExecution) -> bool:
    try:
        facts = describe_file(sent.subject.path)
    except OSError:
        # The file was deleted after the check above.
        return True
    return record.output == asdict(facts)
