"""Owns the descriptors of all services, and adds those that the installed packages lack.

grpcio-health-checking has no `List` before 1.85, and grpcio-reflection has v1alpha only. Both are
added in a pool of their own, so that the packages' own modules are not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from backlane.v1 import admin_service_pb2, execution_service_pb2, worker_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.message import Message

HEALTH: Final = "grpc.health.v1.Health"
REFLECTION_V1: Final = "grpc.reflection.v1.ServerReflection"
REFLECTION_V1ALPHA: Final = "grpc.reflection.v1alpha.ServerReflection"
BACKLANE_SERVICES: Final = tuple(
    f"{module.DESCRIPTOR.package}.{name}"
    for module in (execution_service_pb2, worker_service_pb2, admin_service_pb2)
    for name in module.DESCRIPTOR.services_by_name
)


def served_pool() -> descriptor_pool.DescriptorPool:
    """Return a pool with all services of the server.

    It also has the details of errors, which no service names: tools that show errors need them.
    """
    pool = descriptor_pool.DescriptorPool()
    own = (execution_service_pb2, worker_service_pb2, admin_service_pb2)
    for module in (*own, reflection_pb2, error_details_pb2):
        _copy(pool, module.DESCRIPTOR)
    pool.Add(_health_with_list())
    pool.Add(_reflection_v1())
    return pool


def health_list_response(pool: descriptor_pool.DescriptorPool) -> type[Message]:
    """Return the class of `grpc.health.v1.HealthListResponse`."""
    descriptor = pool.FindMessageTypeByName("grpc.health.v1.HealthListResponse")
    return message_factory.GetMessageClass(descriptor)


def _copy(pool: descriptor_pool.DescriptorPool, file: FileDescriptor) -> None:
    for dependency in file.dependencies:
        _copy(pool, dependency)
    proto = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)
    _name_for_json(proto.message_type)
    pool.Add(proto)


def _name_for_json(messages: Iterable[descriptor_pb2.DescriptorProto]) -> None:
    """Set the JSON names of fields, which generated code leaves out.

    Without them tools such as grpcurl would show the names of the proto files.
    """
    for message in messages:
        for field in message.field:
            first, *others = field.name.split("_")
            field.json_name = first + "".join(word[:1].upper() + word[1:] for word in others)
        _name_for_json(message.nested_type)


def _health_with_list() -> descriptor_pb2.FileDescriptorProto:
    """Return health.proto with `List`, as upstream has it."""
    file = descriptor_pb2.FileDescriptorProto.FromString(health_pb2.DESCRIPTOR.serialized_pb)
    if any(message.name == "HealthListResponse" for message in file.message_type):
        return file
    file.message_type.add(name="HealthListRequest")
    response = file.message_type.add(name="HealthListResponse")
    field = descriptor_pb2.FieldDescriptorProto
    response.field.add(
        name="statuses",
        number=1,
        label=field.LABEL_REPEATED,
        type=field.TYPE_MESSAGE,
        type_name=".grpc.health.v1.HealthListResponse.StatusesEntry",
    )
    entry = response.nested_type.add(name="StatusesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    entry.field.add(
        name="value",
        number=2,
        label=field.LABEL_OPTIONAL,
        type=field.TYPE_MESSAGE,
        type_name=".grpc.health.v1.HealthCheckResponse",
    )
    file.service[0].method.add(
        name="List",
        input_type=".grpc.health.v1.HealthListRequest",
        output_type=".grpc.health.v1.HealthListResponse",
    )
    return file


def _reflection_v1() -> descriptor_pb2.FileDescriptorProto:
    """Return reflection v1, which is v1alpha under another name."""
    file = descriptor_pb2.FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = "grpc.reflection.v1"
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
        method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
    return file
