"""Owns server reflection, v1 and v1alpha, over everything the server serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_reflection.v1alpha import _async as reflection
from grpc_reflection.v1alpha import reflection_pb2

from backlane.server.descriptors import (
    BACKLANE_SERVICES,
    HEALTH,
    REFLECTION_V1,
    REFLECTION_V1ALPHA,
)

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool


def reflection_handlers(pool: DescriptorPool) -> tuple[grpc.GenericRpcHandler, ...]:
    """Return the handlers of both versions; one servicer answers, as their messages are equal."""
    names = (*BACKLANE_SERVICES, HEALTH, REFLECTION_V1, REFLECTION_V1ALPHA)
    servicer = reflection.ReflectionServicer(names, pool=pool)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return tuple(
        grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
        for name in (REFLECTION_V1, REFLECTION_V1ALPHA)
    )
