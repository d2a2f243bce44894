"""The limits of Python and the core are the same, and the core checks each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from backlane import _core
from backlane.config import LIMITS
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import nested, text_of
from tests.unit.core_calls import RefusedCallError, call, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

TENANT: Final = "t"


def enqueue(core: _core.Core, **fields: Any) -> None:  # noqa: ANN401  # those of the message
    call(core, "Enqueue", api.EnqueueRequest(tenant_id=TENANT, callable_name="c", **fields))


def batch_of(count: int, **fields: Any) -> api.EnqueueBatchRequest:  # noqa: ANN401
    """A batch of equal items."""
    item = api.EnqueueRequest(callable_name="c", **fields)
    return api.EnqueueBatchRequest(tenant_id=TENANT, items=[item] * count)


def send_input(core: _core.Core, size: int) -> None:
    enqueue(core, input="x" * size)


def send_context(core: _core.Core, size: int) -> None:
    request = api.EnqueueRequest(context={"key": "x" * size})
    over = request.ByteSize() - size
    enqueue(core, context={"key": "x" * (size - over)})


def send_metadata(core: _core.Core, size: int) -> None:
    request = api.EnqueueRequest(metadata={"key": text_of(size)})
    over = request.ByteSize() - size
    enqueue(core, metadata={"key": text_of(size - over)})


def send_nested(core: _core.Core, depth: int) -> None:
    enqueue(core, metadata={"key": nested(depth)})


def leased(core: _core.Core) -> tuple[str, str]:
    """The id and the lease token of an execution that was enqueued and leased."""
    enqueue(core)
    request = work.LeaseRequest(worker_id="w", callables=["*"])
    [lease] = work.LeaseResponse.FromString(call(core, "Lease", request)).leases
    return lease.execution.execution_id, lease.lease_token


def report(core: _core.Core, name: str, request: Message) -> None:
    """Report on one lease.

    Raises:
        RefusedCallError: the report was refused.
    """
    [outcome] = work.CompleteResponse.FromString(call(core, name, request)).outcomes
    if outcome.HasField("status"):
        raise RefusedCallError(outcome.status.message)


def send_output(core: _core.Core, size: int) -> None:
    execution_id, token = leased(core)
    output = text_of(size)
    result = work.CompleteResult(execution_id=execution_id, lease_token=token, output=output)
    report(core, "Complete", work.CompleteRequest(results=[result]))


def fail(core: _core.Core, **fields: Any) -> None:  # noqa: ANN401  # those of the error
    """Lease an execution and fail it."""
    error = records.ExecutionError(category=records.ERROR_CATEGORY_TOOL_ERROR, **fields)
    execution_id, token = leased(core)
    failure = work.Failure(execution_id=execution_id, lease_token=token, error=error)
    report(core, "Fail", work.FailRequest(failures=[failure]))


def send_details(core: _core.Core, size: int) -> None:
    fail(core, message="m", details=text_of(size))


def send_message(core: _core.Core, size: int) -> None:
    """Fail with a message of that size; a message that the server cuts counts as refused."""
    fail(core, message="x" * size)
    request = api.ListRequest(tenant_id=TENANT, view=records.VIEW_FULL)
    listed = api.ListResponse.FromString(call(core, "List", request))
    kept = listed.executions[0].error.message
    if kept != "x" * size:
        raise RefusedCallError(f"was cut to {len(kept.encode())}")


def send_batch_of_items(core: _core.Core, count: int) -> None:
    call(core, "EnqueueBatch", batch_of(count))


def send_batch_of_bytes(core: _core.Core, size: int) -> None:
    batch = batch_of(20, input="x" * max(size // 20 - 20, 1))
    batch.items[0].input += "x" * (size - batch.ByteSize())
    while batch.ByteSize() > size:  # longer lengths take more bytes themselves
        batch.items[0].input = batch.items[0].input[1:]
    assert batch.ByteSize() == size
    call(core, "EnqueueBatch", batch)


def ask_for_leases(core: _core.Core, count: int) -> None:
    request = work.LeaseRequest(worker_id="w", callables=["*"], max_executions=count)
    call(core, "Lease", request)


def ask_for_page(core: _core.Core, size: int) -> None:
    call(core, "List", api.ListRequest(tenant_id=TENANT, page_size=size))


def fill_queue(core: _core.Core, count: int) -> None:
    for _ in range(count):
        enqueue(core)


USES: Final[dict[str, Callable[[_core.Core, int], None]]] = {
    "max_input_bytes": send_input,
    "max_output_bytes": send_output,
    "max_context_bytes": send_context,
    "max_metadata_bytes": send_metadata,
    "max_error_message_bytes": send_message,
    "max_details_bytes": send_details,
    "max_json_depth": send_nested,
    "max_batch_items": send_batch_of_items,
    "max_batch_bytes": send_batch_of_bytes,
    "max_lease_items": ask_for_leases,
    "max_queue_per_tenant": fill_queue,
    "max_page": ask_for_page,
}
"""For each limit a function that makes requests which need exactly the given amount."""


def refusal(name: str, limits: dict[str, int], need: int) -> str | None:
    """The message with which a new core refuses a use of a limit; None if it accepts the use."""
    with running(limits) as core:
        try:
            USES[name](core, need)
        except RefusedCallError as refused:
            return str(refused)
    return None


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_that_is_set_is_the_one_that_the_core_checks(name: str) -> None:
    limit = 4 if name == "max_json_depth" else 400

    assert refusal(name, {name: limit}, limit) is None
    assert refusal(name, {name: limit}, limit + 1) is not None


@pytest.mark.parametrize("name", sorted(LIMITS.keys() - {"max_queue_per_tenant"}))
def test_the_default_of_a_limit_is_the_cores(name: str) -> None:
    limit = LIMITS[name].default

    assert refusal(name, {}, limit) is None
    assert refusal(name, {}, limit + 1) is not None


def test_the_core_takes_no_other_limit() -> None:
    with pytest.raises(_core.CoreError, match="max_nothing"):
        _core.Core(data=None, limits={"max_nothing": 1})
