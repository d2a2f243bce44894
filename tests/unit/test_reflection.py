"""Server reflection: both versions list and describe all services."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2

from backlane.errors import InvalidArgumentError, from_rpc_error
from backlane.server.descriptors import (
    BACKLANE_SERVICES,
    HEALTH,
    REFLECTION_V1,
    REFLECTION_V1ALPHA,
    served_pool,
)
from backlane.server.reflection import Reflection
from backlane.v1.execution_pb2 import BackgroundExecution

ALL_SERVICES = [*BACKLANE_SERVICES, HEALTH, REFLECTION_V1, REFLECTION_V1ALPHA]
Request = reflection_pb2.ServerReflectionRequest


async def ask(version: str, request: Request) -> reflection_pb2.ServerReflectionResponse:
    """One question to a server of its own."""
    answer = await ask_bytes(version, request.SerializeToString())
    return reflection_pb2.ServerReflectionResponse.FromString(answer)


async def ask_bytes(version: str, request: bytes) -> bytes:
    """The answer to bytes."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(Reflection(served_pool()).handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(
                f"/{version}/ServerReflectionInfo"
            )()
            await call.write(request)
            answer = await call.read()
            call.cancel()
    finally:
        await server.stop(None)
    assert isinstance(answer, bytes)
    return answer


@pytest.mark.parametrize("version", [REFLECTION_V1, REFLECTION_V1ALPHA])
async def test_both_versions_list_every_service(version: str) -> None:
    response = await ask(version, Request(list_services="*"))

    names = [service.name for service in response.list_services_response.service]
    assert sorted(names) == sorted(ALL_SERVICES)


@pytest.mark.parametrize("service", ALL_SERVICES)
async def test_every_service_can_be_described(service: str) -> None:
    response = await ask(REFLECTION_V1, Request(file_containing_symbol=service))

    [file] = [
        file
        for encoded in response.file_descriptor_response.file_descriptor_proto
        for file in [descriptor_pb2.FileDescriptorProto.FromString(encoded)]
        if service.startswith(f"{file.package}.")
        and service.rpartition(".")[2] in [described.name for described in file.service]
    ]
    assert file.package == service.rpartition(".")[0]


async def test_health_is_described_with_its_list() -> None:
    response = await ask(REFLECTION_V1, Request(file_containing_symbol=HEALTH))

    [encoded] = response.file_descriptor_response.file_descriptor_proto
    [service] = descriptor_pb2.FileDescriptorProto.FromString(encoded).service
    assert sorted(method.name for method in service.method) == ["Check", "List", "Watch"]


@pytest.mark.parametrize("detail", ["ErrorInfo", "BadRequest", "QuotaFailure", "RetryInfo"])
async def test_the_details_of_errors_can_be_described(detail: str) -> None:
    response = await ask(REFLECTION_V1, Request(file_containing_symbol=f"google.rpc.{detail}"))

    assert response.file_descriptor_response.file_descriptor_proto


async def test_a_method_is_found_by_its_name_and_an_unknown_one_is_not() -> None:
    known = await ask(REFLECTION_V1, Request(file_containing_symbol=f"{BACKLANE_SERVICES[0]}.Get"))
    unknown = await ask(REFLECTION_V1, Request(file_containing_symbol=f"{BACKLANE_SERVICES[0]}.X"))

    assert known.file_descriptor_response.file_descriptor_proto
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_fields_have_the_names_of_protobufs_json() -> None:
    symbol = "backlane.v1.BackgroundExecution"
    response = await ask(REFLECTION_V1, Request(file_containing_symbol=symbol))

    files = map(
        descriptor_pb2.FileDescriptorProto.FromString,
        response.file_descriptor_response.file_descriptor_proto,
    )
    names = {
        field.name: field.json_name
        for file in files
        for message in file.message_type
        if message.name == "BackgroundExecution"
        for field in message.field
    }
    expected = {field.name: field.json_name for field in BackgroundExecution.DESCRIPTOR.fields}
    assert expected == names
    assert names["execution_id"] == "executionId"


@pytest.mark.parametrize("version", [REFLECTION_V1, REFLECTION_V1ALPHA])
async def test_bytes_that_are_no_message_are_refused_without_the_text_of_python(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask_bytes(version, b"\xff\xff")

    error = from_rpc_error(raised.value)
    assert isinstance(error, InvalidArgumentError)
    assert error.message == "the request is not an encoded message of the method"
    assert caplog.records == []
