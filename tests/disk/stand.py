"""A server on a small disk, with a producer and a worker."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import grpc

from backlane.errors import NotFoundError, from_rpc_error
from backlane.testing.server import ServerProcess
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import MIB, Door, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.disk.small import SmallDisk

DISK_BYTES: Final = 300 * MIB
BALLAST: Final = "ballast"
"""The file that another program removes again when the disk is to have room."""


class Stand:
    """A server on the small disk, with a producer and a worker.

    Attributes:
        disk: the disk.
        server: the server.
        acknowledged: the ids that the server has acknowledged.
    """

    def __init__(self, disk: SmallDisk, server: ServerProcess, channel: grpc.Channel) -> None:
        """Make one."""
        self.disk = disk
        self.server = server
        self.door = Door(channel, "acme")
        self.acknowledged: list[str] = []

    def enqueue(self, size: int) -> str | None:
        """Enqueue one; returns the reason of a refusal."""
        return self._enqueue(lambda: [self.door.enqueue(input="x" * size).execution_id])

    def enqueue_batch(self, size: int, items: int) -> str | None:
        """Enqueue a batch; returns the reason of a refusal."""
        new = [api.EnqueueRequest(callable_name="mail.send", input="x" * size)] * items
        request = api.EnqueueBatchRequest(tenant_id="acme", items=new)

        def enqueue() -> list[str]:
            answer = self.door.call("EnqueueBatch", request)
            return [result.execution.execution_id for result in answer.results]

        return self._enqueue(enqueue)

    def _enqueue(self, enqueue: Callable[[], list[str]]) -> str | None:
        try:
            self.acknowledged.extend(enqueue())
        except grpc.RpcError as error:
            return str(from_rpc_error(error).reason)
        return None

    def lease(self, most: int) -> list[work.Lease]:
        """Lease some executions, for long enough."""
        return self.door.lease(most, lease_duration_ms=600_000)

    def complete_all(self) -> int:
        """Lease and complete until nothing is queued; returns how many were completed."""
        done = 0
        while leases := self.lease(100):
            outcomes = [self.door.complete(lease, text("done")) for lease in leases]
            assert {outcome.WhichOneof("outcome") for outcome in outcomes} == {"result"}
            done += len(leases)
        return done

    def says(self, words: str) -> None:
        """Return once the server's log has these words."""
        while words not in self.log:
            assert self.server.process.poll() is None

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self.server.log.read_text()

    def has_room_again(self) -> None:
        """Make room, and return once the server takes new executions."""
        self.disk.give_back(BALLAST)
        while self.enqueue(10) == "DISK_FULL":
            assert self.server.process.poll() is None

    def status(self, execution_id: str) -> records.BackgroundExecutionStatus.ValueType | None:
        """Return the status of an execution; None if the server does not know it."""
        try:
            return self.door.get(execution_id).status
        except grpc.RpcError as error:
            if isinstance(from_rpc_error(error), NotFoundError):
                return None
            raise

    def kept(self) -> list[str]:
        """The acknowledged ids that the server still knows."""
        return [self.door.get(known).execution_id for known in self.acknowledged]


@contextmanager
def stand_on(disk: SmallDisk, log: Path) -> Iterator[Stand]:
    """Run a server with its data on a disk."""
    with (
        ServerProcess.start(disk.path / "data", log=log) as server,
        grpc.insecure_channel(
            server.target, options=[("grpc.max_receive_message_length", -1)]
        ) as channel,
    ):
        yield Stand(disk, server, channel)
