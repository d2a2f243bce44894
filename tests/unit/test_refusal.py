"""Errors of the server itself, which have the form of the core's errors."""

import grpc
import pytest
from google.rpc import status_pb2

from backlane.errors import REASONS, from_status
from backlane.server.refusal import CODES, refusal


@pytest.mark.parametrize("reason", REASONS)
def test_a_refusal_reads_back_as_the_error_of_its_reason(reason: str) -> None:
    made = refusal(reason, "no", metadata={"max_streams": "7"}, retry_after_s=2.5)
    error = from_status(status_pb2.Status.FromString(made.payload))

    assert type(error) is REASONS[reason].error
    assert error.code is REASONS[reason].code is CODES[made.code]
    assert (error.message, error.reason) == ("no", reason)
    assert error.metadata == {"max_streams": "7"}
    assert error.retry_after_s == 2.5


def test_every_status_code_has_its_number() -> None:
    assert {code: number for number, code in CODES.items()} == {
        code: code.value[0] for code in grpc.StatusCode
    }
