"""The page of the protocol: its examples answer, and its table of errors is the true one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grpc
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from backlane.errors import REASONS
from backlane.v1 import execution_service_pb2, worker_service_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

    from tests.conftest import StartServer

PAGE = Path(__file__).resolve().parents[2] / "proto" / "README.md"
EXAMPLE = re.compile(r"^grpcurl -plaintext -d '(.*)' 127\.0\.0\.1:7433 (\S+)/(\S+)$", re.MULTILINE)
ID = "exec_3MOMcOolOcx4bwVikYfmbIx7Nm6"
TOKEN = "lt_1_1"  # noqa: S105  # no secret
SERVICES = {
    service.full_name: service
    for module in (execution_service_pb2, worker_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
}
TIMEOUT_S = 20


class Example(NamedTuple):
    """One line of the page: the request as JSON, and whose it is."""

    request: str
    service: str
    method: str


def examples() -> list[Example]:
    """The page's examples, in order."""
    found = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    return [Example(*groups) for groups in found]


def call(channel: grpc.Channel, example: Example, request: str) -> Message:
    """Send a request that is written in JSON, with that method."""
    method: MethodDescriptor = SERVICES[example.service].methods_by_name[example.method]
    send: grpc.UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
        f"/{example.service}/{example.method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    message = json_format.Parse(request, GetMessageClass(method.input_type)())
    answer: Message = send(message, timeout=TIMEOUT_S)
    return answer


def own_names(answer: Message) -> dict[str, str]:
    """What an answer tells of the page's first execution: its id, and later its token."""
    match answer:
        case execution_service_pb2.EnqueueResponse():
            return {ID: answer.execution.execution_id}
        case worker_service_pb2.LeaseResponse():
            # The best come first: the one of the first example is second.
            return {TOKEN: answer.leases[1].lease_token}
        case _:
            return {}


def test_every_unary_call_has_an_example() -> None:
    unary = {
        (service.full_name, method.name)
        for service in SERVICES.values()
        for method in service.methods
        if not method.client_streaming
    }

    assert unary == {(example.service, example.method) for example in examples()}


def test_the_examples_answer_in_their_order(start_server: StartServer) -> None:
    server = start_server()
    names: dict[str, str] = {}
    refused = []
    with grpc.insecure_channel(server.target) as channel:
        for example in examples():
            request = example.request
            for written, own in names.items():
                request = request.replace(written, own)
            answer = call(channel, example, request)
            names |= own_names(answer)
            outcomes = getattr(answer, "outcomes", [])
            refused += [example.method for outcome in outcomes if outcome.HasField("status")]

    # The first of the three that end a lease ends it.
    assert refused == ["Fail", "Release"]


def test_the_table_of_errors_is_the_true_one() -> None:
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| ([A-Z_]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )

    assert dict(rows) == {reason: known.code.name for reason, known in REASONS.items()}
