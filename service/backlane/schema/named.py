"""Owns how an execution is named in a call: by its id, or by anything that has it."""

from __future__ import annotations

from typing import Protocol


class Named(Protocol):
    """Anything with the id of an execution, such as a handle."""

    @property
    def execution_id(self) -> str:
        """The execution's id."""


def id_of(execution: Named | str) -> str:
    """Return the id of an execution that is named by a handle or by its id."""
    return execution if isinstance(execution, str) else execution.execution_id
