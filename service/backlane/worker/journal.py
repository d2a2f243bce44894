"""Owns a worker's journal of the results that the server accepted, one JSON line per result.

A line is written with one system call when the answer has arrived, so that it survives a killed
worker. A checker can compare the journals of all workers with the server's records.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from backlane.worker.results import results_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backlane.v1 import worker_service_pb2 as api


@dataclass(frozen=True, slots=True)
class Accepted:
    """A result that the server answered with OK.

    Attributes:
        kind: `complete`, `fail`, `release` or `suspend`.
        execution_id: the execution of the result.
        lease_token: the lease of the result.
        status: the number of the execution's status afterwards.
    """

    kind: str
    execution_id: str
    lease_token: str
    status: int


class Journal:
    """Appends the accepted results to a file. Pass it to a worker as `observe`."""

    def __init__(self, path: Path) -> None:
        """Open the file for appending, and create it if it is missing."""
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __call__(self, request: api.WorkRequest, outcomes: api.WorkOutcomes) -> None:
        """Write the accepted results of a message."""
        lines = "".join(f"{json.dumps(asdict(item))}\n" for item in accepted(request, outcomes))
        os.write(self._file, lines.encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()


def accepted(request: api.WorkRequest, outcomes: api.WorkOutcomes) -> Iterator[Accepted]:
    """Yield the results of a message that the server answered with OK."""
    kind = request.WhichOneof("message") or ""
    for result, outcome in zip(results_of(request), outcomes.outcomes, strict=True):
        if outcome.HasField("result"):
            token = result.lease_token
            yield Accepted(kind, result.execution_id, token, outcome.result.status)


def read_journal(path: Path) -> Iterator[Accepted]:
    """Yield the lines of a journal, except a last line that was cut off."""
    for line in path.read_text(encoding="ascii").splitlines(keepends=True):
        if line.endswith("\n"):
            yield Accepted(**json.loads(line))
