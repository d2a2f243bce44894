"""Owns the record of one stream: its messages, the credit left, and the leases that run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["complete", "fail", "release", "suspend", "steps"]
Item = api.CompleteResult | api.Failure | api.LeaseRef | api.Suspension | api.StepReport


@dataclass(frozen=True)
class Report:
    """The worker's report on one lease.

    Attributes:
        kind: how the lease ended, or `steps` if it goes on.
        item: the item of the message.
        at: when the report came, in seconds of the monotonic clock.
        message: the number of its message on the stream, from 0.
    """

    kind: Kind
    item: Item
    at: float
    message: int

    @property
    def token(self) -> str:
        """The token of the lease."""
        return self.item.lease_token


@dataclass
class Ledger:
    """The events of one stream.

    Attributes:
        received: the worker's messages in order, with the times at which they came.
        reports: all reports that end leases, in order.
        steps: all reports of steps, in order.
        acknowledged: for each token the number of the message that first acknowledged the lease or
            reported on it.
        credit: how many leases may still be sent.
        prefetch: how many leases may still be sent ahead of a free slot.
        running: the tokens of leases on the stream without a report.
        most: the highest sum of credit and running leases.
    """

    received: list[tuple[float, api.WorkRequest]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    steps: list[Report] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    credit: int = 0
    prefetch: int = 0
    running: set[str] = field(default_factory=set)
    most: int = 0

    def note(self, request: api.WorkRequest, at: float) -> list[Report]:
        """Record a message of the worker, and return its reports."""
        number = len(self.received)
        self.received.append((at, request))
        reports = [Report(kind, item, at, number) for kind, item in reported(request)]
        ends = [report for report in reports if report.kind != "steps"]
        self.reports += ends
        self.steps += [report for report in reports if report.kind == "steps"]
        self.running -= {report.token for report in ends}
        for ref in (*request.acknowledge.leases, *(report.item for report in reports)):
            self.acknowledged.setdefault(ref.lease_token, number)
        self.credit += request.credit.executions
        self.prefetch += request.credit.prefetch
        self.most = max(self.most, self.credit + len(self.running))
        return reports

    def give(self, leases: Iterable[api.Lease]) -> None:
        """Record leases that the server sends, which use up credit."""
        for lease in leases:
            if lease.prefetched:
                self.prefetch -= 1
            else:
                self.credit -= 1
            self.running.add(lease.lease_token)

    def take_over(self, tokens: Iterable[str]) -> None:
        """Record leases that continue from an earlier stream."""
        self.running |= set(tokens)

    def withdraw(self, tokens: Iterable[str]) -> None:
        """Record leases that the worker has lost."""
        self.running -= set(tokens)

    def count(self, kind: str) -> int:
        """Count the received messages of a kind."""
        return sum(request.WhichOneof("message") == kind for _, request in self.received)

    def reports_of(self, token: str) -> list[Report]:
        """Return the reports that end a lease."""
        return [report for report in self.reports if report.token == token]

    def steps_of(self, token: str) -> list[Report]:
        """Return the reports of the steps of a lease."""
        return [report for report in self.steps if report.token == token]


def reported(request: api.WorkRequest) -> Iterator[tuple[Kind, Item]]:
    """Yield the reports in a message."""
    match request.WhichOneof("message"):
        case "complete":
            yield from (("complete", item) for item in request.complete.results)
        case "fail":
            yield from (("fail", item) for item in request.fail.failures)
        case "release":
            yield from (("release", item) for item in request.release.releases)
        case "suspend":
            yield from (("suspend", item) for item in request.suspend.suspensions)
        case "steps":
            yield from (("steps", item) for item in request.steps.reports)
