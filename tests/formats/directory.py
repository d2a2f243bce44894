"""Makes a data directory of the format that this version writes, with an example of each row.

    python -m tests.formats.directory FOLDER

Run it once for each new format, and keep the folder beside the ones that are here. Every later
version has to open it; `tests/integration/test_formats.py` compares.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.struct_pb2 import Value

from backlane.schema import json as schema_json
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as producer
from backlane.v1 import worker_service_pb2 as worker
from tests.unit.core_calls import call, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane._core import Core

HERE = Path(__file__).parent
MADE_AT_MS = 1_800_000_000_000
"""The instant at which the clock of every kept directory stands."""

TENANTS = ("acme", "blue")
KEPT = ("backlane.db", "watermark")
REPEATED = producer.EnqueueRequest(
    tenant_id="acme", callable_name="mail.send", request_id="r1", input="first"
)
"""A request that every kept directory knows already."""


def request(name: str, **fields: object) -> producer.EnqueueRequest:
    """A request of tenant acme."""
    made = producer.EnqueueRequest(tenant_id="acme", callable_name=name, input=f"input of {name}")
    made.MergeFrom(producer.EnqueueRequest(**fields))  # type: ignore[arg-type]  # by name
    return made


def enqueue(core: Core, made: producer.EnqueueRequest) -> records.BackgroundExecution:
    """Enqueues, and returns the record."""
    return producer.EnqueueResponse.FromString(call(core, "Enqueue", made)).execution


def lease(core: Core, name: str) -> worker.Lease:
    """Leases the one execution of a callable."""
    asked = worker.LeaseRequest(worker_id="kept-worker", callables=[name])
    [leased] = worker.LeaseResponse.FromString(call(core, "Lease", asked)).leases
    return leased


def fail(core: Core, name: str, message: str) -> None:
    """Leases and fails the one execution of a callable."""
    leased = lease(core, name)
    failure = worker.Failure(
        execution_id=leased.execution.execution_id,
        lease_token=leased.lease_token,
        error=records.ExecutionError(
            category=records.ERROR_CATEGORY_TOOL_ERROR, message=message, code="BOOM"
        ),
    )
    call(core, "Fail", worker.FailRequest(failures=[failure]))


def complete(core: Core, name: str) -> None:
    """Leases and completes the one execution of a callable."""
    leased = lease(core, name)
    result = worker.CompleteResult(
        execution_id=leased.execution.execution_id,
        lease_token=leased.lease_token,
        output=Value(string_value="x" * 5_000),
    )
    call(core, "Complete", worker.CompleteRequest(results=[result]))


def fill(core: Core) -> None:
    """Makes an example of every kind of row and state."""
    retries = records.BackgroundExecutionConfig(retry=records.RetryConfig(max_attempts=3))
    enqueue(core, REPEATED)
    enqueue(core, request("queued", context={"k": "v"}, dedup_key="d1"))
    enqueue(core, request("running"))
    lease(core, "running")
    enqueue(core, request("retrying", config=retries))
    fail(core, "retrying", "the first attempt fails")
    enqueue(core, request("failed"))
    fail(core, "failed", "the only attempt fails")
    enqueue(core, request("completed", metadata={"m": Value(number_value=1)}))
    complete(core, "completed")
    cancelled = enqueue(core, request("cancelled"))
    call(
        core,
        "Cancel",
        producer.CancelRequest(tenant_id="acme", execution_id=cancelled.execution_id),
    )
    batch = [producer.EnqueueRequest(callable_name="batched", input=str(n)) for n in range(3)]
    call(
        core,
        "EnqueueBatch",
        producer.EnqueueBatchRequest(tenant_id="blue", items=batch, request_id="b1"),
    )


def shown(core: Core) -> Iterator[records.BackgroundExecution]:
    """Every execution of every tenant, newest first, with everything that is kept of it."""
    for tenant in TENANTS:
        asked = producer.ListRequest(tenant_id=tenant, view=records.VIEW_FULL)
        yield from producer.ListResponse.FromString(call(core, "List", asked)).executions


def main(folder: Path) -> None:
    """Makes the directory and writes its records beside it."""
    with tempfile.TemporaryDirectory() as made:
        data = Path(made)
        with running(data=data, clock_ms=MADE_AT_MS) as core:
            fill(core)
            texts = [schema_json.dumps(record) for record in shown(core)]
        folder.mkdir()
        for name in KEPT:
            shutil.copyfile(data / name, folder / name)
        (folder / "records.jsonl").write_text("".join(f"{text}\n" for text in texts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
