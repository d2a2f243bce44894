"""What Python and the core have to agree on: reasons, calls, limits."""

from __future__ import annotations

import pytest

from backlane import _core
from backlane.config import LIMITS
from backlane.errors import REASONS
from backlane.v1 import execution_service_pb2, worker_service_pb2

SERVICES = [
    *execution_service_pb2.DESCRIPTOR.services_by_name.values(),
    *worker_service_pb2.DESCRIPTOR.services_by_name.values(),
]


def test_both_have_the_same_reasons_with_the_same_codes() -> None:
    expected = {reason: row.code.value[0] for reason, row in REASONS.items()}

    assert dict(_core.reasons()) == expected
    assert len(_core.reasons()) == len(expected)


def test_the_core_has_every_call_of_the_contract() -> None:
    expected = {
        f"/{service.full_name}/{method.name}": method.client_streaming
        for service in SERVICES
        for method in service.methods
    }
    core = _core.Core(data=None)

    assert dict(core.methods()) == expected
    core.stop()


@pytest.mark.parametrize("name", LIMITS)
def test_the_core_takes_every_limit(name: str) -> None:
    _core.Core(data=None, limits={name: LIMITS[name].default}).stop()


def test_the_core_takes_no_other_limit() -> None:
    with pytest.raises(_core.CoreError, match="max_nothing"):
        _core.Core(data=None, limits={"max_nothing": 1})
