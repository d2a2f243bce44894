"""Owns a limit on running executions, and how far it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backlane.schema import json as schema_json

if TYPE_CHECKING:
    from backlane.v1 import admin_service_pb2 as service


@dataclass(frozen=True, slots=True, repr=False)
class Limits:
    """The limit of a tenant as a whole, or of one of its callables.

    Attributes:
        proto: the message itself, which must not be changed.
    """

    proto: service.Limits

    __hash__ = None  # type: ignore[assignment]  # messages have none either

    def __repr__(self) -> str:
        """Return what is limited, and to how many."""
        most = "no limit" if self.max_running is None else f"at most {self.max_running}"
        return f"<Limits {self.callable_name or self.tenant_id}: {self.running} run, {most}>"

    @property
    def tenant_id(self) -> str:
        """The tenant."""
        return self.proto.tenant_id

    @property
    def callable_name(self) -> str | None:
        """The callable that is limited; None for the tenant as a whole."""
        return self.proto.callable_name or None

    @property
    def max_running(self) -> int | None:
        """How many may run at once; None if nothing is limited."""
        return self.proto.max_running if self.proto.HasField("max_running") else None

    @property
    def running(self) -> int:
        """How many workers hold now."""
        return self.proto.running

    @property
    def ready(self) -> int:
        """How many are due, and wait for a worker or for the limit."""
        return self.proto.ready

    def to_json(self) -> str:
        """Return the limit as canonical JSON in one line."""
        return schema_json.dumps(self.proto)
