"""Owns the book-keeping of one stream: what came, what credit is left, and what runs on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["complete", "fail", "release"]
Item = api.CompleteResult | api.Failure | api.LeaseRef


@dataclass(frozen=True)
class Report:
    """What the worker said of one lease.

    Attributes:
        kind: how it ended.
        item: the words themselves.
        at: when it came, in seconds of the monotonic clock.
        message: which message of the stream it came in, from 0.
    """

    kind: Kind
    item: Item
    at: float
    message: int

    @property
    def token(self) -> str:
        """The lease it names."""
        return self.item.lease_token


@dataclass
class Ledger:
    """What happened on one stream.

    Attributes:
        received: every message of the worker, in order, with the time it came at.
        reports: every report, in order.
        acknowledged: by token: which message first acknowledged it.
        credit: leases that may still be sent.
        running: tokens of leases that are on the stream and not reported.
        most: the most that credit and running leases have been together.
    """

    received: list[tuple[float, api.WorkRequest]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    credit: int = 0
    running: set[str] = field(default_factory=set)
    most: int = 0

    def note(self, request: api.WorkRequest, at: float) -> list[Report]:
        """Take in a message of the worker, and return what it reports."""
        number = len(self.received)
        self.received.append((at, request))
        reports = [Report(kind, item, at, number) for kind, item in reported(request)]
        self.reports += reports
        self.running -= {report.token for report in reports}
        for ref in request.acknowledge.leases:
            self.acknowledged.setdefault(ref.lease_token, number)
        self.credit += request.credit.executions
        self.most = max(self.most, self.credit + len(self.running))
        return reports

    def give(self, tokens: Iterable[str]) -> None:
        """Note leases that the server sends: they use up credit."""
        given = set(tokens)
        self.credit -= len(given)
        self.running |= given

    def take_over(self, tokens: Iterable[str]) -> None:
        """Note leases that run on since an earlier stream."""
        self.running |= set(tokens)

    def withdraw(self, tokens: Iterable[str]) -> None:
        """Note leases that are no longer the worker's."""
        self.running -= set(tokens)

    def count(self, kind: str) -> int:
        """Count the messages of a kind that came."""
        return sum(request.WhichOneof("message") == kind for _, request in self.received)

    def reports_of(self, token: str) -> list[Report]:
        """Return what was reported of a lease."""
        return [report for report in self.reports if report.token == token]


def reported(request: api.WorkRequest) -> Iterator[tuple[Kind, Item]]:
    """Yield what a message reports, item by item."""
    match request.WhichOneof("message"):
        case "complete":
            yield from (("complete", item) for item in request.complete.results)
        case "fail":
            yield from (("fail", item) for item in request.fail.failures)
        case "release":
            yield from (("release", item) for item in request.release.releases)
