"""Bytes, calls and ids that no correct client sends get clear errors, and do no harm."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Value
from google.rpc import error_details_pb2

from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import MIB, TIMEOUT_S, UNKNOWN_ID, Door, encoded
from tests.conformance.refusals import assert_refusal, details, refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    UnaryMethod = grpc.UnaryUnaryMultiCallable[bytes, bytes]
    StreamMethod = grpc.StreamStreamMultiCallable[bytes, bytes]

METHODS = [
    (f"/{service.full_name}/{method.name}", method.client_streaming)
    for module, name in ((api, "ExecutionService"), (work, "WorkerService"))
    for service in [module.DESCRIPTOR.services_by_name[name]]
    for method in service.methods
]
UNARY = [path for path, is_stream in METHODS if not is_stream]
STREAMS = [path for path, is_stream in METHODS if is_stream]

# A field of a length that never comes, a varint without an end, a wire type that there is none
# of, field number 0, a group that nobody closes, a length beyond all memory, text that is no text.
MALFORMED = {
    "cut": b"\x0a\x05ab",
    "endless": b"\x08" + b"\xff" * 11,
    "wire-type": b"\x0f",
    "field-0": b"\x02\x00",
    "group": b"\x0b" * 200,
    "huge": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    "no-text": b"\x0a\x02\xff\xfe",
    "deep": b"\x0a\x02" * 10_000,
}


def call(door: Door, path: str, request: bytes) -> Any:  # noqa: ANN401  # an answer
    method: UnaryMethod = door.channel.unary_unary(path)
    return method(request, timeout=TIMEOUT_S)


def talk(door: Door, path: str, requests: Iterable[bytes]) -> list[bytes]:
    method: StreamMethod = door.channel.stream_stream(path)
    return list(method(iter(requests), timeout=TIMEOUT_S))


@pytest.mark.parametrize("path", UNARY)
@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
def test_malformed_bytes_are_an_invalid_argument(
    door: Door, path: str, request_bytes: bytes
) -> None:
    before = door.everything()
    status = refused(lambda: call(door, path, request_bytes))

    [field] = [detail.value for detail in status.details if detail.type_url.endswith("BadRequest")]
    assert field
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert door.everything() == before


def test_text_that_is_no_text_names_its_field(door: Door) -> None:
    batch = b"\x12\x00" + b"\x12\x04\x1a\x02\xff\xfe"
    status = refused(lambda: call(door, "/backlane.v1.ExecutionService/EnqueueBatch", batch))

    assert_refusal(status, "INVALID_ARGUMENT", "items[1].input")
    assert status.message == "items[1].input: must be UTF-8 text"


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
def test_malformed_bytes_end_a_stream(door: Door, path: str, request_bytes: bytes) -> None:
    status = refused(lambda: talk(door, path, [request_bytes]))

    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert door.enqueue().execution_id


@pytest.mark.parametrize("path", UNARY)
def test_any_bytes_are_answered(door: Door, path: str) -> None:
    seed = random.Random(path)  # noqa: S311  # the same noise each time
    valid = encoded(door.new(input="in", metadata={"a": {"null_value": 0}}))
    for _ in range(40):
        noise = bytearray(valid)
        for _ in range(3):
            noise[seed.randrange(len(noise))] = seed.randrange(256)
        try:
            call(door, path, bytes(noise))
        except grpc.RpcError as error:
            ended: Any = error
            assert ended.code() not in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
            assert ended.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
    assert door.enqueue().execution_id


def value_bytes(door: Door, value: bytes) -> bytes:
    """A request whose metadata has an entry with that encoded value."""
    entry = b"\x0a\x01k\x12" + bytes([len(value)]) + value
    return encoded(door.new()) + b"\x32" + bytes([len(entry)]) + entry


@pytest.mark.parametrize(
    "value",
    [
        b"\x20\x01\x1a\x01x",
        b"\x08\x01",
        b"\x1a\x01\xff",
        b"\x2a\x06\x0a\x04\x0a\x02\xff\xff",
        b"\x38\x01",
    ],
    ids=["two-kinds", "null-is-1", "text", "key", "unknown-kind"],
)
def test_what_is_no_json_is_refused(door: Door, value: bytes) -> None:
    request = value_bytes(door, value)
    status = refused(lambda: call(door, "/backlane.v1.ExecutionService/Enqueue", request))

    assert_refusal(status, "INVALID_ARGUMENT", 'metadata["k"]')
    assert door.stats().ready == 0


def test_fields_of_a_later_version_are_let_pass(door: Door) -> None:
    request = encoded(door.new()) + b"\xca\x3e\x03new"

    assert call(door, "/backlane.v1.ExecutionService/Enqueue", request)
    assert door.stats().ready == 1


@pytest.mark.parametrize(
    "path",
    [
        "/backlane.v1.ExecutionService/Nothing",
        "/backlane.v1.Nothing/Enqueue",
        "/backlane.v2.ExecutionService/Enqueue",
        "/Enqueue",
        "/",
    ],
)
def test_an_unknown_call_is_unimplemented(door: Door, path: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        call(door, path, b"")

    ended: Any = raised.value
    assert ended.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", [UNARY[0], UNARY[-1]])
def test_a_message_beyond_the_transports_limit_carries_no_details(door: Door, path: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        call(door, path, bytes(20 * MIB + 1))

    ended: Any = raised.value
    assert ended.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not [key for key, _ in ended.trailing_metadata() if key == "grpc-status-details-bin"]
    assert door.enqueue().execution_id


@pytest.mark.parametrize("name", ["Get", "Cancel", "GetTaskRecord", "Redrive"])
def test_an_unknown_id_and_another_tenants_look_alike(door: Door, name: str) -> None:
    others = Door(door.channel, door.tenant + "-other")
    theirs = others.enqueue().execution_id
    before = others.everything()
    messages: set[str] = set()
    request_type = getattr(api, f"{name}Request")
    for execution_id in (UNKNOWN_ID, theirs):
        request = request_type(tenant_id=door.tenant, execution_id=execution_id)
        status = refused(lambda r=request: door.call(name, r))  # type: ignore[misc]
        assert_refusal(status, "EXECUTION_NOT_FOUND")
        messages.add(status.message.replace(execution_id, ""))

    assert len(messages) == 1
    assert others.everything() == before


def test_an_id_with_another_random_part_is_not_found(door: Door) -> None:
    made = door.enqueue().execution_id
    last = "0" if made[-1] != "0" else "1"
    request = api.GetRequest(tenant_id=door.tenant, execution_id=made[:-1] + last)

    assert_refusal(refused(lambda: door.call("Get", request)), "EXECUTION_NOT_FOUND")


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_a_finished_execution_refuses_a_cancel(door: Door, end: str) -> None:
    execution_id = door.enqueue().execution_id
    request = api.CancelRequest(tenant_id=door.tenant, execution_id=execution_id)
    if end == "completed":
        [lease] = door.lease()
        door.complete(lease)
    else:
        door.call("Cancel", request)
    before = door.everything()
    status = refused(lambda: door.call("Cancel", request))

    assert_refusal(status, "TRANSITION_NOT_ALLOWED")
    assert end in status.message
    assert door.everything() == before


def test_a_name_that_is_too_long_for_an_error_is_cut_in_it(door: Door) -> None:
    """Clients take 8 KiB of trailers, and drop an error that is larger."""
    request = door.new(metadata={"\U0001f600" * 15_000: Value()})
    status = refused(lambda: door.call("Enqueue", request))

    [violation] = details(status, error_details_pb2.BadRequest)[0].field_violations
    assert violation.field.startswith('metadata["')
    assert_refusal(status, "INVALID_ARGUMENT", violation.field)
