"""The calls of a server for one tenant, which all tests of this suite use."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value

from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from backlane.v1.admin_service_pb2_grpc import AdminServiceStub
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

TIMEOUT_S: Final = 20
UNKNOWN_ID: Final = "exec_1srOrx2ZWZBpBUvZwXKQmoEYga2"
MIB: Final = 1024 * 1024
KIB: Final = 1024
CHANNEL_OPTIONS: Final[Sequence[tuple[str, int]]] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)
"""Does not limit what is sent; limits replies as gRPC clients do by default."""


def new_tenant() -> str:
    """A new tenant."""
    return f"t-{uuid.uuid4().hex}"


class Door:
    """The calls of a server, for one tenant.

    Attributes:
        channel: where they go.
        tenant: whose executions they are about.
        producer: the calls of producers, by name.
        worker: the calls of workers, by name.
        operator: the calls of operators, by name.
    """

    def __init__(self, channel: grpc.Channel, tenant: str) -> None:
        """Make the stubs."""
        self.channel = channel
        self.tenant = tenant
        self.producer = ExecutionServiceStub(channel)
        self.worker = WorkerServiceStub(channel)
        self.operator = AdminServiceStub(channel)

    def call(self, name: str, request: Message) -> Any:  # noqa: ANN401  # each has its own
        """Make the unary call with a name."""
        stubs = (self.producer, self.worker, self.operator)
        stub = next(stub for stub in stubs if hasattr(stub, name))
        return getattr(stub, name)(request, timeout=TIMEOUT_S)

    def new(self, **fields: Any) -> api.EnqueueRequest:  # noqa: ANN401  # those of the message
        """A request that enqueues one execution."""
        fields = {"tenant_id": self.tenant, "callable_name": "mail.send"} | fields
        return api.EnqueueRequest(**fields)

    def enqueue(self, **fields: Any) -> records.BackgroundExecution:  # noqa: ANN401  # as above
        """Enqueue one execution."""
        return self.producer.Enqueue(self.new(**fields), timeout=TIMEOUT_S).execution

    def lease(
        self,
        most: int = 1,
        worker: str = "w1",
        **fields: Any,  # noqa: ANN401  # as above
    ) -> list[work.Lease]:
        """Lease executions of this tenant."""
        fields = {"callables": ["*"], "tenant_ids": [self.tenant]} | fields
        request = work.LeaseRequest(worker_id=worker, max_executions=most, **fields)
        return list(self.worker.Lease(request, timeout=TIMEOUT_S).leases)

    def enqueue_and_lease(self, **fields: Any) -> work.Lease:  # noqa: ANN401  # as above
        """Enqueue one execution and lease it."""
        execution_id = self.enqueue(**fields).execution_id
        [lease] = self.lease()
        assert lease.execution.execution_id == execution_id
        return lease

    def complete(self, lease: work.Lease, output: Value | None = None) -> work.LeaseOutcome:
        """Complete a lease."""
        result = work.CompleteResult(
            execution_id=lease.execution.execution_id,
            lease_token=lease.lease_token,
            output=output,
        )
        request = work.CompleteRequest(results=[result])
        [outcome] = self.worker.Complete(request, timeout=TIMEOUT_S).outcomes
        return outcome

    def get(self, execution_id: str) -> records.BackgroundExecution:
        """Read one execution."""
        request = api.GetRequest(tenant_id=self.tenant, execution_id=execution_id)
        return self.producer.Get(request, timeout=TIMEOUT_S).execution

    def stats(self) -> api.GetQueueStatsResponse:
        """Count the unfinished executions."""
        request = api.GetQueueStatsRequest(tenant_id=self.tenant)
        return self.producer.GetQueueStats(request, timeout=TIMEOUT_S)

    def everything(self) -> tuple[bytes, bytes]:
        """All executions of the tenant as bytes, for comparisons."""
        request = api.ListRequest(tenant_id=self.tenant, page_size=1000)
        listed = self.producer.List(request, timeout=TIMEOUT_S)
        assert not listed.next_page_token
        stats = self.stats()
        return encoded(listed), encoded(stats)


def encoded(message: Message) -> bytes:
    """A message's deterministic encoding."""
    return message.SerializeToString(deterministic=True)


def ref(lease: work.Lease) -> work.LeaseRef:
    """The reference to a lease."""
    return work.LeaseRef(execution_id=lease.execution.execution_id, lease_token=lease.lease_token)


def text(value: str) -> Value:
    """A JSON string."""
    return Value(string_value=value)


def nested(depth: int) -> Value:
    """Nested JSON arrays."""
    value = Value(bool_value=True)
    for _ in range(depth):
        outer = Value()
        outer.list_value.values.add().CopyFrom(value)
        value = outer
    return value


def text_of(size: int) -> Value:
    """A JSON string whose encoded value has that many bytes."""
    length = size
    while text("x" * length).ByteSize() > size:
        length -= 1
    value = text("x" * length)
    assert value.ByteSize() == size
    return value


def put(message: Message, path: str, value: object) -> None:
    """Set the field with a path such as `items[3].config.priority`."""
    *parents, name = path.split(".")
    target: Any = message
    for parent in parents:
        target = _step(target, parent)
    if isinstance(value, Message):
        _step(target, name).CopyFrom(value)
    elif isinstance(value, dict):
        for key, entry in value.items():
            _put_entry(getattr(target, name), key, entry)
    elif isinstance(value, list):
        del getattr(target, name)[:]
        getattr(target, name).extend(value)
    elif value is None:
        target.ClearField(name)
    else:
        setattr(target, name, value)


def _step(target: Any, name: str) -> Any:  # noqa: ANN401  # whatever the field has
    name, _, index = name.rstrip("]").partition("[")
    found = getattr(target, name)
    return found[int(index)] if index else found


def _put_entry(target: Any, key: str, entry: object) -> None:  # noqa: ANN401  # any map
    if isinstance(entry, Message):
        target[key].CopyFrom(entry)
    else:
        target[key] = entry
