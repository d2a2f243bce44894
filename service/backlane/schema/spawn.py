"""Owns spawn modes: whether a child is an execution of its own, and what its worker is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backlane.schema.records import BackgroundExecution
from backlane.schema.values import to_value
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class InlineMode:
    """The child runs as a part of its parent: no execution is made."""

    def fill(self, mode: api.SpawnMode) -> None:
        """Write the mode into a message."""
        mode.inline.SetInParent()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildMode:
    """The child is an execution of its own.

    Attributes:
        background: whether it is a background execution. Otherwise the parent runs it inline.
        inherit_inbox: kept on the child for its worker.
        policies: JSON values that are kept on the child for its worker.
    """

    background: bool = True
    inherit_inbox: bool = False
    policies: Mapping[str, object] | None = None

    def fill(self, mode: api.SpawnMode) -> None:
        """Write the mode into a message.

        Raises:
            NotJsonError: a policy is not JSON.
        """
        child = mode.child
        child.background, child.inherit_inbox = self.background, self.inherit_inbox
        for name, policy in (self.policies or {}).items():
            child.policies[name].CopyFrom(to_value(policy))


SpawnMode = InlineMode | ChildMode


def should_run_background(mode: SpawnMode) -> bool:
    """Return whether a spawn in this mode makes a background execution: `Spawn` has the rule."""
    return isinstance(mode, ChildMode) and mode.background


def from_spawn_mode(  # one for each field
    mode: SpawnMode,
    *,
    execution_id: str,
    tenant_id: str,
    callable_name: str,
    input: str | None = None,  # noqa: A002  # as the record names it
    config: records.BackgroundExecutionConfig | None = None,
) -> BackgroundExecution | None:
    """Return the queued record that a spawn in this mode makes; None if the parent runs it inline.

    Its own mode is `fire_and_forget`, unless the config says otherwise.

    Args:
        mode: the mode of the spawn.
        execution_id: the child's id.
        tenant_id: the tenant of parent and child.
        callable_name: the callable to run.
        input: its input, as it is sent.
        config: its config; the defaults if it is left out.
    """
    if not should_run_background(mode):
        return None
    made = records.BackgroundExecutionConfig()
    if config is not None:
        made.CopyFrom(config)
    if made.mode == records.BACKGROUND_EXECUTION_MODE_UNSPECIFIED:
        made.mode = records.BACKGROUND_EXECUTION_MODE_FIRE_AND_FORGET
    record = records.BackgroundExecution(
        execution_id=execution_id,
        tenant_id=tenant_id,
        callable_name=callable_name,
        input=input,
        config=made,
        status=records.BACKGROUND_EXECUTION_STATUS_QUEUED,
    )
    return BackgroundExecution(record)
