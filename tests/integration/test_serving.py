"""A real server: health, reflection, and calls that are not valid."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from backlane.errors import (
    BacklaneError,
    InvalidArgumentError,
    MessageTooLargeError,
    TooLargeError,
    UnimplementedError,
    from_rpc_error,
)
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub

if TYPE_CHECKING:
    from tests.conftest import StartServer

    UnaryMethod = grpc.UnaryUnaryMultiCallable[bytes, bytes]
    StreamMethod = grpc.StreamStreamMultiCallable[bytes, bytes]

SERVICES = [
    module.DESCRIPTOR.services_by_name[name]
    for module in (api, worker_service_pb2)
    for name in module.DESCRIPTOR.services_by_name
]
UNARY_PATHS = [
    f"/{service.full_name}/{method.name}"
    for service in SERVICES
    for method in service.methods
    if not method.client_streaming
]
STREAM_PATHS = [
    f"/{service.full_name}/{method.name}"
    for service in SERVICES
    for method in service.methods
    if method.client_streaming
]


def refused(channel: grpc.Channel, path: str, request: bytes) -> BacklaneError:
    """The error that a call of bytes ends with."""
    method: UnaryMethod = channel.unary_unary(path)
    with pytest.raises(grpc.RpcError) as raised:
        method(request, timeout=20)
    return from_rpc_error(raised.value)


@pytest.mark.parametrize("service", ["", *[service.full_name for service in SERVICES]])
def test_every_service_is_healthy(channel: grpc.Channel, service: str) -> None:
    check: UnaryMethod = channel.unary_unary("/grpc.health.v1.Health/Check")
    request = health_pb2.HealthCheckRequest(service=service)
    response = health_pb2.HealthCheckResponse.FromString(check(request.SerializeToString()))

    assert response.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_the_services(channel: grpc.Channel, version: str) -> None:
    method = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    [response] = method(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))

    listed = {service.name for service in response.list_services_response.service}
    assert {service.full_name for service in SERVICES} < listed


@pytest.mark.parametrize("path", UNARY_PATHS)
def test_every_call_answers_an_empty_request_with_the_field_it_lacks(
    channel: grpc.Channel, path: str
) -> None:
    error = refused(channel, path, b"")

    assert isinstance(error, InvalidArgumentError)
    assert error.reason == "INVALID_ARGUMENT"
    assert error.violations


@pytest.mark.parametrize("path", UNARY_PATHS)
def test_every_call_answers_bytes_that_are_no_message(channel: grpc.Channel, path: str) -> None:
    error = refused(channel, path, b"\xff\xff\xff\xff")

    assert isinstance(error, InvalidArgumentError)
    assert error.reason == "INVALID_ARGUMENT"


@pytest.mark.parametrize("path", STREAM_PATHS)
def test_every_stream_answers_bytes_that_are_no_message(channel: grpc.Channel, path: str) -> None:
    method: StreamMethod = channel.stream_stream(path)
    with pytest.raises(grpc.RpcError) as raised:
        list(method(iter([b"\xff\xff\xff\xff"]), timeout=20))

    assert isinstance(from_rpc_error(raised.value), InvalidArgumentError)


@pytest.mark.parametrize("path", STREAM_PATHS)
def test_every_stream_of_no_messages_ends(channel: grpc.Channel, path: str) -> None:
    method: StreamMethod = channel.stream_stream(path)
    call = method(iter(()), timeout=20)

    assert call.code() in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}


def test_an_unknown_call_is_unimplemented(channel: grpc.Channel) -> None:
    error = refused(channel, "/backlane.v1.ExecutionService/Nothing", b"")

    assert isinstance(error, UnimplementedError)


def test_a_message_over_the_transports_limit_is_refused_and_the_server_goes_on(
    channel: grpc.Channel,
) -> None:
    error = refused(channel, UNARY_PATHS[0], bytes(21 * 1024 * 1024))

    assert isinstance(error, MessageTooLargeError)
    assert isinstance(refused(channel, UNARY_PATHS[0], b""), InvalidArgumentError)


def test_limits_are_configured(start_server: StartServer) -> None:
    server = start_server(args=("--limit", "max_input_bytes=10"))
    with grpc.insecure_channel(server.target) as channel:
        producer = ExecutionServiceStub(channel)
        request = api.EnqueueRequest(tenant_id="t", callable_name="c", input="x" * 10)
        assert producer.Enqueue(request, timeout=20).execution.input == "x" * 10

        request.input += "x"
        with pytest.raises(grpc.RpcError) as raised:
            producer.Enqueue(request, timeout=20)

    assert isinstance(from_rpc_error(raised.value), TooLargeError)


def test_streams_beyond_the_bound_are_refused(start_server: StartServer) -> None:
    server = start_server(args=("--max-streams", "1"))
    with grpc.insecure_channel(server.target) as channel:
        method: StreamMethod = channel.stream_stream("/backlane.v1.ExecutionService/EnqueueStream")
        request = api.EnqueueStreamRequest(
            items=[api.EnqueueRequest(tenant_id="t", callable_name="c")]
        ).SerializeToString()
        requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        requests.put(request)
        # It stays open, since its queue never says that it ended.
        first = method(iter(requests.get, None))
        next(iter(first))
        with pytest.raises(grpc.RpcError) as raised:
            list(method(iter([request]), timeout=20))
        requests.put(None)
        assert first.code() is grpc.StatusCode.OK

    assert from_rpc_error(raised.value).metadata == {"max_streams": "1"}
