"""Every unary call can be made from JSON by a client that has reflection only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from backlane.v1 import admin_service_pb2 as admin
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import TIMEOUT_S, new_tenant

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

EXAMPLES = json.loads((Path(__file__).parent / "examples.json").read_text(encoding="utf-8"))
SERVICES = [
    module.DESCRIPTOR.services_by_name[name]
    for module, name in (
        (api, "ExecutionService"),
        (work, "WorkerService"),
        (admin, "AdminService"),
    )
]
UNARY = {
    f"{service.full_name}/{method.name}"
    for service in SERVICES
    for method in service.methods
    if not method.client_streaming
}


class Curl:
    """A client that has no generated code: JSON in, JSON out."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))

    def call(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Make the call `package.Service/Method`."""
        service, _, method = name.partition("/")
        descriptor = self._pool.FindServiceByName(service).methods_by_name[method]
        answer = GetMessageClass(descriptor.output_type)
        stub: grpc.UnaryUnaryMultiCallable[Message, Message] = self._channel.unary_unary(
            f"/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        message = GetMessageClass(descriptor.input_type)()
        json_format.ParseDict(request, message, descriptor_pool=self._pool)
        response = stub(message, timeout=TIMEOUT_S)
        return json_format.MessageToDict(response, descriptor_pool=self._pool)


@pytest.fixture
def curl(shared_channel: grpc.Channel) -> Curl:
    """The server, through JSON."""
    return Curl(shared_channel)


def test_every_unary_call_has_an_example() -> None:
    assert len(UNARY) == 32
    assert {example["call"] for example in EXAMPLES} == UNARY


def filled(request: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """A request with what earlier answers told in place of its variables."""
    text = json.dumps(request)
    for name, value in values.items():
        text = text.replace(name, value)
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_examples_work_one_after_the_other(curl: Curl) -> None:
    values = {"tenant_acme": new_tenant()}
    answers = []
    for example in EXAMPLES:
        answer = curl.call(example["call"], filled(example["request"], values))
        answers.append(answer)
        assert refusals(answer) == [], example["call"]
        if example["call"].endswith("/Enqueue"):
            values["$EXECUTION"] = answer["execution"]["executionId"]
        for lease in answer.get("leases", []):
            assert lease["execution"]["executionId"] == values["$EXECUTION"]
            values["$TOKEN"] = lease["leaseToken"]

    calls = [example["call"].rpartition("/")[2] for example in EXAMPLES]
    [completed] = answers[calls.index("Complete")]["outcomes"]
    assert completed["result"]["status"] == "BACKGROUND_EXECUTION_STATUS_COMPLETED"
    [dead] = answers[calls.index("ListDeadLetters")]["executions"]
    redriven = answers[calls.index("Redrive")]["execution"]
    assert redriven["retriedFrom"] == dead["executionId"] == values["$EXECUTION"]


def refusals(answer: dict[str, Any]) -> list[Any]:
    """The items of an answer that were refused."""
    outcomes = answer.get("outcomes", [])
    return [outcome["status"] for outcome in outcomes if "status" in outcome]


def test_what_was_given_as_json_comes_back_as_json(curl: Curl) -> None:
    request = filled(EXAMPLES[0]["request"], {"tenant_acme": new_tenant()})
    made = curl.call(EXAMPLES[0]["call"], request)["execution"]

    for field in ("tenantId", "callableName", "input", "context", "metadata", "notBefore"):
        assert made[field] == request[field]
    assert made["config"]["priority"] == 90
    assert made["status"] == "BACKGROUND_EXECUTION_STATUS_QUEUED"
