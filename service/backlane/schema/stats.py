"""Owns the counts of a tenant's unfinished executions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from backlane.schema import json as schema_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from backlane.v1 import execution_service_pb2 as service


@dataclass(frozen=True, slots=True, repr=False)
class QueueStats:
    """How many unfinished executions a tenant has, by state.

    Attributes:
        proto: the message itself, which must not be changed.
    """

    proto: service.GetQueueStatsResponse

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Return the counts."""
        return (
            f"<QueueStats ready {self.ready}, pending {self.pending}, retrying {self.retrying}, "
            f"running {self.running}, suspended {self.suspended}, held {self.held}, "
            f"ending {self.ending}>"
        )

    @property
    def ready(self) -> int:
        """How many are queued and wait for a worker."""
        return self.proto.ready

    @property
    def pending(self) -> int:
        """How many are queued and wait for their `not_before`."""
        return self.proto.pending

    @property
    def retrying(self) -> int:
        """How many are queued and wait for their retry delay."""
        return self.proto.retrying

    @property
    def running(self) -> int:
        """How many are leased by a worker."""
        return self.proto.running

    @property
    def suspended(self) -> int:
        """How many wait for an input or a time, without a worker."""
        return self.proto.suspended

    @property
    def held(self) -> int:
        """How many would be ready, but are paused."""
        return self.proto.held

    @property
    def ending(self) -> int:
        """How many have an end that is decided, and wait for their children without a worker."""
        return self.proto.ending

    @property
    def oldest_queued_at(self) -> datetime | None:
        """When the oldest queued execution was enqueued; None if none is queued."""
        if not self.proto.HasField("oldest_queued_at"):
            return None
        return self.proto.oldest_queued_at.ToDatetime(UTC)

    @property
    def callables(self) -> Mapping[str, service.CallableStats]:
        """The same counts for each callable, of at most 1 000 callables."""
        return {stats.callable_name: stats for stats in self.proto.callables}

    def to_json(self) -> str:
        """Return the counts as canonical JSON in one line."""
        return schema_json.dumps(self.proto)
