"""Conversion of gRPC errors to exceptions."""

from __future__ import annotations

import inspect
import pickle

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2, message, struct_pb2
from google.rpc import error_details_pb2, status_pb2

from backlane import errors
from backlane.errors import (
    DETAILS_KEY,
    REASONS,
    BacklaneError,
    CallTimeoutError,
    FieldViolation,
    InvalidArgumentError,
    MessageTooLargeError,
    NotFoundError,
    ResourceExhaustedError,
    TooLargeError,
    TransitionNotAllowedError,
    UnavailableError,
    from_rpc_error,
    from_status,
)
from backlane.schema.values import NotJsonError


def status(code: int, *details: message.Message, text: str = "text") -> status_pb2.Status:
    made = status_pb2.Status(code=code, message=text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        made.details.append(packed)
    return made


def info(reason: str, domain: str = "backlane", **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)


def rpc_error(code: grpc.StatusCode, trailers: grpc.aio.Metadata) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, "text")


def test_each_reason_has_an_exception_of_its_own() -> None:
    exceptions = [row.error for row in REASONS.values()]

    assert len(set(exceptions)) == len(exceptions)


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_becomes_its_exception_and_keeps_its_code(reason: str) -> None:
    row = REASONS[reason]
    error = from_status(status(row.code.value[0], info(reason, key="value")))

    assert type(error) is row.error
    assert (error.reason, error.code, error.message) == (reason, row.code, "text")
    assert error.metadata == {"key": "value"}
    assert str(error) == f"{reason}: text"


def test_refused_fields_are_named() -> None:
    request = error_details_pb2.BadRequest()
    request.field_violations.add(field="items[3].callable_name", description="is empty")
    error = from_status(status(3, info("INVALID_ARGUMENT"), request))

    assert isinstance(error, InvalidArgumentError)
    assert error.violations == (FieldViolation("items[3].callable_name", "is empty"),)


def test_the_time_to_retry_is_in_seconds() -> None:
    retry = error_details_pb2.RetryInfo(
        retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000)
    )

    assert from_status(status(8, info("RATE_LIMITED"), retry)).retry_after_s == 2.5


def test_a_size_over_its_limit_is_in_numbers() -> None:
    error = from_status(status(11, info("TOO_LARGE", field="input", limit="10", size="11")))

    assert isinstance(error, TooLargeError)
    assert (error.field, error.limit, error.size) == ("input", 10, 11)


def test_a_number_that_is_absent_or_none_is_0() -> None:
    error = from_status(status(11, info("TOO_LARGE", limit="ten")))

    assert isinstance(error, TooLargeError)
    assert (error.field, error.limit, error.size) == ("", 0, 0)


def test_variables_of_the_message_have_attributes() -> None:
    error = from_status(status(9, info("TRANSITION_NOT_ALLOWED", status="completed", event="x")))

    assert isinstance(error, TransitionNotAllowedError)
    assert (error.status, error.event) == ("completed", "x")


@pytest.mark.parametrize(
    ("code", "detail", "expected"),
    [
        (5, info("TRIGGER_NOT_FOUND"), NotFoundError),
        (8, info("TENANT_LIMITED"), ResourceExhaustedError),
        (14, info("NOT_OWNER"), UnavailableError),
        (2, info("NEW"), BacklaneError),
    ],
)
def test_a_reason_of_a_newer_server_becomes_the_exception_of_its_code(
    code: int, detail: error_details_pb2.ErrorInfo, expected: type[BacklaneError]
) -> None:
    error = from_status(status(code, detail))

    assert type(error) is expected
    assert error.reason == detail.reason


def test_the_reason_of_another_domain_is_none() -> None:
    error = from_status(status(9, info("LEASE_LOST", domain="proxy.example", a="b")))

    assert (error.reason, error.metadata) == ("", {})


def test_details_of_other_kinds_are_passed_over() -> None:
    error = from_status(status(9, struct_pb2.Struct(), info("LEASE_LOST"), struct_pb2.Struct()))

    assert error.reason == "LEASE_LOST"


def test_an_rpc_error_is_read_from_its_trailer() -> None:
    trailers = grpc.aio.Metadata(
        ("other", "x"), (DETAILS_KEY, status(9, info("LEASE_LOST")).SerializeToString())
    )

    assert from_rpc_error(rpc_error(grpc.StatusCode.FAILED_PRECONDITION, trailers)).reason == (
        "LEASE_LOST"
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, CallTimeoutError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, MessageTooLargeError),
        (grpc.StatusCode.UNKNOWN, BacklaneError),
    ],
)
@pytest.mark.parametrize("trailers", [[], [(DETAILS_KEY, b"\xff\xff")]])
def test_an_rpc_error_of_the_transport_is_known_by_its_code(
    code: grpc.StatusCode, expected: type[BacklaneError], trailers: list[tuple[str, bytes]]
) -> None:
    error = from_rpc_error(rpc_error(code, grpc.aio.Metadata(*trailers)))

    assert type(error) is expected
    assert (error.reason, error.message) == ("", "text")


def test_a_message_over_the_transports_limit_is_never_retried() -> None:
    error = from_rpc_error(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata()))

    assert not error.is_retryable


def test_errors_survive_pickling() -> None:
    error = from_status(status(9, info("LEASE_LOST", execution_id="exec_1")))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # it was pickled just now

    assert (type(copy), copy.parts) == (type(error), error.parts)


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFinishedError("exec_1", "queued", 2.5),
        errors.EnqueueManyError([errors.InvalidInputError("no")]),
        errors.UnavailableError(
            errors.ErrorParts(grpc.StatusCode.UNAVAILABLE, "gone", maybe_applied=True)
        ),
        NotJsonError(".a", "is not JSON"),
    ],
)
def test_each_of_its_own_shape_does_so_too(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # as above

    assert (str(copy), copy.__dict__.keys()) == (str(error), error.__dict__.keys())


def test_a_time_that_was_too_short_is_no_error_of_the_system() -> None:
    late = errors.NotFinishedError("exec_1", "running", 2.5)

    assert isinstance(late, TimeoutError)
    assert (late.errno, str(late)) == (None, "exec_1 is still running after 2.5 s")


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFinishedError("exec_1", "running", 2.5),
        errors.EnqueueManyError([errors.InvalidInputError("of exec_1")]),
        errors.ForkedError("exec_1", 1, 2),
        errors.UnavailableError(errors.ErrorParts(grpc.StatusCode.UNAVAILABLE, "of exec_1")),
        NotJsonError(".exec_1", "is not JSON"),
    ],
)
def test_an_error_of_its_own_shape_shows_what_it_is_about(error: Exception) -> None:
    assert repr(error).startswith(f"{type(error).__name__}(")
    assert "exec_1" in repr(error)


def test_a_second_info_of_a_proxy_hides_nothing() -> None:
    both = (info("LEASE_LOST"), info("SLOW", domain="proxy.example"))

    for details in (both, both[::-1]):
        assert from_status(status(9, *details)).reason == "LEASE_LOST"


def test_every_exception_says_when_it_is_raised() -> None:
    exceptions = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, BacklaneError)
    ]

    assert [error for error in exceptions if not error.__dict__.get("__doc__")] == []
