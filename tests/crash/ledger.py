"""Owns the clients' records of acknowledged enqueues and accepted completions."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from backlane.v1 import worker_service_pb2 as api
from backlane.worker.journal import accepted


class Acknowledged(NamedTuple):
    """An enqueue that the server answered.

    Attributes:
        request_id: the id it can be repeated by; of an item of a batch that of the whole, a
            slash, and the item's place.
        execution_id: what the server made of it.
        text: the input.
    """

    request_id: str
    execution_id: str
    text: str


@dataclass
class Ledger:
    """The records of all clients of one test. Thread-safe.

    Attributes:
        by_request: the acknowledged enqueues by request id.
        unfinished: executions that were acknowledged, and no completion of which was accepted.
        tokens: lease tokens whose completion was accepted, by execution.
        contradictions: what the server said that cannot be true beside what it said before.
    """

    by_request: dict[str, Acknowledged] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)
    tokens: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    contradictions: list[str] = field(default_factory=list)
    _operations: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def acknowledge(self, items: Iterable[Acknowledged]) -> None:
        """Record acknowledged enqueues; a repeated one must return the same execution."""
        with self._changed:
            for item in items:
                self._operations += 1
                before = self.by_request.setdefault(item.request_id, item)
                if before != item:
                    self.contradictions.append(f"{before} became {item}")
                elif item.execution_id not in self.tokens:
                    self.unfinished.add(item.execution_id)
            self._changed.notify_all()

    def contradict(self, text: str) -> None:
        """Record an answer that is wrong."""
        with self._changed:
            self.contradictions.append(text)
            self._changed.notify_all()

    def observe(self, request: api.WorkRequest, outcomes: api.WorkOutcomes) -> None:
        """Record accepted completions; pass this to a worker as `observe`."""
        with self._changed:
            for item in accepted(request, outcomes):
                self._operations += 1
                if item.kind == "complete":
                    self.tokens[item.execution_id].add(item.lease_token)
                    self.unfinished.discard(item.execution_id)
            self._changed.notify_all()

    def wait_for_operations(self, count: int, timeout_s: float) -> None:
        """Block until that many more operations were acknowledged or accepted.

        Raises:
            TimeoutError: they were not, within that many seconds.
        """
        goal = self._operations + count
        self._wait_until(lambda: self._operations >= goal, timeout_s)

    def wait_for_room(self, unfinished_max: int, timeout_s: float) -> None:
        """Block until at most that many executions are not finished.

        Raises:
            TimeoutError: there were more for that many seconds.
        """
        self._wait_until(lambda: len(self.unfinished) <= unfinished_max, timeout_s)

    def _wait_until(self, is_true: Callable[[], bool], timeout_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(is_true, timeout_s):
                raise TimeoutError(f"{self._operations} operations, {len(self.unfinished)} open")
