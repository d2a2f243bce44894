"""Schema JSON: the form of records, and that reading and writing gives the same bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import rfc8785
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from backlane.schema import json as schema_json
from backlane.schema.values import NotJsonError, to_value
from backlane.v1 import execution_pb2 as records

SAFE = 2**53 - 1
"""The largest integer that RFC 8785 takes."""


def texts() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def values() -> st.SearchStrategy[Value]:
    """Any `Value` a server may show, numbers of every size included."""
    leaves = (
        st.none()
        | st.booleans()
        | texts()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(-(2**53), 2**53)
    )
    nested = st.recursive(
        leaves,
        lambda part: st.lists(part, max_size=3) | st.dictionaries(texts(), part, max_size=3),
        max_leaves=6,
    )
    return nested.map(to_value)


def instants() -> st.SearchStrategy[Timestamp]:
    # From the year 1 to the year 9999, as RFC 3339 has them.
    seconds = st.integers(-62_135_596_800, 253_402_300_799)
    return st.builds(Timestamp, seconds=seconds, nanos=st.integers(0, 999_999_999))


def singles(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """What one value of a field may be."""
    if field.message_type is not None:
        return messages_of(field.message_type)
    if field.enum_type is not None:
        return st.sampled_from(sorted(field.enum_type.values_by_number))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=8)
    integers = {
        FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_UINT64: st.integers(0, SAFE),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
        FieldDescriptor.CPPTYPE_STRING: texts(),
    }
    return integers[field.cpp_type]


def messages_of(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    """Messages of a kind, every field set or absent."""
    if descriptor.full_name == "google.protobuf.Value":
        return values()
    if descriptor.full_name == "google.protobuf.Timestamp":
        return instants()
    kind = getattr(records, descriptor.name)
    return st.fixed_dictionaries({}, optional=fields_of(descriptor)).map(
        lambda parts: kind(**parts)
    )


def fields_of(descriptor: Descriptor) -> dict[str, st.SearchStrategy[Any]]:
    found: dict[str, st.SearchStrategy[Any]] = {}
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            inner = singles(field.message_type.fields_by_name["value"])
            found[field.name] = st.dictionaries(texts(), inner, max_size=3)
        elif field.is_repeated:
            # An unspecified value in a list stands for nothing, and no server sends it.
            found[field.name] = st.lists(singles(field).filter(bool), max_size=3)
        else:
            found[field.name] = singles(field)
    return found


@given(messages_of(records.BackgroundExecution.DESCRIPTOR))
@example(records.BackgroundExecution(metadata={"": to_value([1e-5, 1e16, 2**53, 0.1, -0.0])}))
@example(records.BackgroundExecution(context={"\U00010000": "", "\uffff": ""}))
@example(records.BackgroundExecution(output=to_value({"\U00010000": "\x7f\x1f", "\uffff": ""})))
@example(records.BackgroundExecution(version=SAFE, attempt=0, cancel_requested=False))
@example(records.BackgroundExecution(queued_at=Timestamp(seconds=-1, nanos=1_000)))
@example(records.BackgroundExecution(queued_at=Timestamp(seconds=1, nanos=5_000_000)))
def test_a_record_is_written_as_rfc_8785_demands(record: records.BackgroundExecution) -> None:
    expected = rfc8785.dumps(schema_json.to_dict(record)).decode()

    assert expected == schema_json.dumps(record)


@pytest.mark.parametrize("nanos", [0, 1, 1_000, 999_000, 1_000_000, 470_000_000, 999_999_999])
def test_an_instant_is_written_as_protobuf_writes_it(nanos: int) -> None:
    instant = Timestamp(seconds=1_769_846_400, nanos=nanos)

    shown = schema_json.to_dict(records.BackgroundExecution(queued_at=instant))

    assert shown["queuedAt"] == instant.ToJsonString()


@given(messages_of(records.BackgroundExecution.DESCRIPTOR))
@example(records.BackgroundExecution(metadata={"": to_value(-0.0)}))
def test_a_record_goes_to_json_and_back_to_the_byte(record: records.BackgroundExecution) -> None:
    text = schema_json.dumps(record)

    again = schema_json.loads(records.BackgroundExecution, text)

    assert schema_json.dumps(again) == text
    # RFC 8785 writes a negative zero as any other; all else comes back as it was.
    assert str(again) == re.sub(r": -0$", ": 0", str(record), flags=re.MULTILINE)


FAILED_RECORD = records.BackgroundExecution(
    execution_id="exec_1",
    tenant_id="acme",
    callable_name="mail.send",
    input='{"to": "ada"}',
    context={"locale": "en"},
    config=records.BackgroundExecutionConfig(
        mode=records.BACKGROUND_EXECUTION_MODE_FIRE_AND_FORGET,
        priority=0,
        timeout_ms=300_000,
        retry=records.RetryConfig(
            max_attempts=3,
            strategy=records.RETRY_STRATEGY_FIXED,
            backoff_multiplier=2.0,
            retry_on=[records.ERROR_CATEGORY_NETWORK_ERROR],
        ),
    ),
    status=records.BACKGROUND_EXECUTION_STATUS_FAILED,
    queued_at=Timestamp(seconds=1_767_225_600, nanos=5_000_000),
    error=records.ExecutionError(
        category=records.ERROR_CATEGORY_LLM_ERROR,
        message="no",
        retry_policy=records.RetryPolicy(base_delay_ms=500, max_delay_ms=30_000),
        occurred_at_ms=1_767_225_600_005,
    ),
    metadata={"order": to_value({"id": 7, "share": 0.5})},
    attempt=1,
    version=4,
    reason=records.END_REASON_WORKER_LOST,
    actor=records.Actor(kind=records.ACTOR_KIND_CLOCK),
)
FAILED_JSON = {
    "executionId": "exec_1",
    "tenantId": "acme",
    "callableName": "mail.send",
    "input": '{"to": "ada"}',
    "context": {"locale": "en"},
    "config": {
        "mode": "fire_and_forget",
        "priority": 0,
        "timeoutMs": 300_000,
        "retry": {
            "maxAttempts": 3,
            "strategy": "fixed",
            "backoffMultiplier": 2,
            "retryOn": ["network_error"],
        },
    },
    "status": "failed",
    "queuedAt": "2026-01-01T00:00:00.005Z",
    "error": {
        "category": "llm_error",
        "message": "no",
        "retryPolicy": {
            "retryable": False,
            "maxRetries": 0,
            "baseDelay": 500,
            "maxDelay": 30_000,
            "requiresIdempotencyKey": False,
        },
        "attempt": 0,
        "occurredAt": 1_767_225_600_005,
    },
    "targetBindingApplied": False,
    "metadata": {"order": {"id": 7, "share": 0.5}},
    "attempt": 1,
    "dependsOn": [],
    "maxWorkerLosses": 0,
    "paused": False,
    "spentAttempts": 0,
    "workerLosses": 0,
    "version": 4,
    "cancelRequested": False,
    "reason": "worker_lost",
    "actor": {"kind": "clock", "id": ""},
}


def test_a_record_is_written_as_the_schema_has_it() -> None:
    assert json.loads(schema_json.dumps(FAILED_RECORD)) == FAILED_JSON


RUN = records.Execution(
    id="exec_1",
    tenant_id="acme",
    state=records.EXECUTION_STATE_WAITING,
    wait_reason=records.WAIT_REASON_USER_INPUT,
    steps={
        "step_1": records.Step(
            id="step_1",
            step_type=records.STEP_TYPE_LLM,
            name="ask",
            state=records.STEP_STATE_COMPLETED,
            output='"yes"',
            duration_ms=5,
            started_at=1_767_225_600_005,
            source=records.StepSource(source_type=records.STEP_SOURCE_TYPE_INITIAL_PLAN),
            arguments_hash=b"\x00\xff",
        )
    },
    step_order=["step_1"],
)
RUN_JSON = {
    "id": "exec_1",
    "tenantId": "acme",
    "state": "Waiting",
    "waitReason": "UserInput",
    "steps": {
        "step_1": {
            "id": "step_1",
            "stepType": "llm",
            "name": "ask",
            "state": "Completed",
            "output": '"yes"',
            "durationMs": 5,
            "startedAt": 1_767_225_600_005,
            "source": {"sourceType": "initial_plan"},
            "key": "",
            "argumentsHash": "AP8=",
            "attempt": 0,
        }
    },
    "stepOrder": ["step_1"],
}


def test_a_run_is_written_as_the_schema_has_it() -> None:
    assert json.loads(schema_json.dumps(RUN)) == RUN_JSON


@given(messages_of(records.Execution.DESCRIPTOR))
def test_a_run_goes_to_json_and_back_to_the_byte(run: records.Execution) -> None:
    text = schema_json.dumps(run)

    assert schema_json.dumps(schema_json.loads(records.Execution, text)) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"state":"waiting"}', "state: 'waiting' is not one of Created, "),
        ('{"waitReason":"USER_INPUT"}', "waitReason: 'USER_INPUT' is not one of Approval, Use"),
        ('{"steps":{"a":{"argumentsHash":"A"}}}', "steps.a.argumentsHash: "),
        ('{"steps":{"a":{"argumentsHash":"AB=="}}}', "steps.a.argumentsHash has base64 that is "),
        ('{"steps":{"a":{"argumentsHash":1}}}', "steps.a.argumentsHash cannot be 1"),
    ],
)
def test_bad_json_of_a_run_is_refused_with_its_key(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        schema_json.loads(records.Execution, text)


def test_keys_are_sorted_and_nothing_is_between_them() -> None:
    actor = records.Actor(kind=records.ACTOR_KIND_WORKER, id="worker-é")

    assert schema_json.dumps(actor) == '{"id":"worker-é","kind":"worker"}'


def test_an_output_of_null_differs_from_no_output() -> None:
    without = records.BackgroundExecution()
    null = records.BackgroundExecution(output=to_value(None))

    assert "output" not in schema_json.to_dict(without)
    assert schema_json.to_dict(null)["output"] is None
    assert schema_json.loads(records.BackgroundExecution, '{"output":null}').HasField("output")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2.0**53, "9007199254740992"),
        (-(2.0**53), "-9007199254740992"),
        (2.0**60, "1152921504606847000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-0.0, "0"),
        (1.0, "1"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)
def test_a_number_is_written_as_rfc_8785_has_it_and_read_again(number: float, text: str) -> None:
    record = records.BackgroundExecution(output=Value(number_value=number))

    assert schema_json.dumps(record).partition('"output":')[2].partition(",")[0] == text
    again = schema_json.loads(records.BackgroundExecution, f'{{"output":{text}}}')
    assert again.output.number_value == number


def test_a_counter_beyond_what_json_holds_is_refused_and_never_rounded() -> None:
    with pytest.raises(NotJsonError, match="exceeds safe integer domain"):
        schema_json.dumps(records.BackgroundExecution(version=2**53))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "the record must be an object"),
        ('{"config": 3}', "config must be an object"),
        ('{"excutionId": "x"}', "excutionId is not a key of BackgroundExecution"),
        ('{"config": {"colour": 1}}', "config.colour is not a key of BackgroundExecutionConfig"),
        ('{"status": "done"}', "status: 'done' is not one of queued, running, completed"),
        ('{"status": "QUEUED"}', "status: 'QUEUED' is not one of"),
        ('{"status": "unspecified"}', "status: 'unspecified' is not one of"),
        ('{"status": 1}', "status cannot be 1"),
        ('{"executionId": 3}', "executionId cannot be 3"),
        ('{"version": true}', "version cannot be true"),
        ('{"version": 1.5}', "version cannot be 1.5"),
        ('{"version": -1}', "version: Value out of range: -1"),
        ('{"version": 1152921504606847000}', "version cannot be 1.152921504606847e"),
        ('{"cancelRequested": 1}', "cancelRequested cannot be 1"),
        ('{"config": {"priority": 4294967296}}', "config.priority: Value out of range"),
        ('{"queuedAt": 1767225600}', "queuedAt: 1767225600 is not an instant"),
        ('{"queuedAt": "2026-01-01 00:00:00"}', "is not an instant in the form of RFC 3339"),
        ('{"dependsOn": "exec_1"}', 'dependsOn cannot be "exec_1"'),
        ('{"dependsOn": {"exec_1": 1}}', "dependsOn cannot be"),
        ('{"context": {"a": 1}}', "context cannot be"),
        ('{"metadata": []}', "metadata cannot be"),
        ('{"output": 9007199254740993}', "beyond ±2^53"),
        ('{"output": NaN}', "which JSON does not have"),
        ('{"output": 1' + "0" * 400 + "}", "beyond ±2^53"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_record_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        schema_json.loads(records.BackgroundExecution, text)

    assert problem in str(refused.value)


def test_a_value_that_a_newer_server_sends_is_left_out() -> None:
    record = records.BackgroundExecution(status=99)  # type: ignore[arg-type]  # from the future

    assert "status" not in schema_json.to_dict(record)


@pytest.mark.parametrize(
    "enum",
    [
        records.BackgroundExecutionMode.DESCRIPTOR,
        records.BackgroundExecutionStatus.DESCRIPTOR,
        records.CancellationPolicy.DESCRIPTOR,
        records.EndReason.DESCRIPTOR,
        records.ErrorCategory.DESCRIPTOR,
        records.RetryStrategy.DESCRIPTOR,
    ],
    ids=lambda enum: enum.name,
)
def test_every_value_of_an_enum_has_a_word_and_the_word_leads_back(enum: EnumDescriptor) -> None:
    numbers = [number for number in enum.values_by_number if number]
    words = [schema_json.enum_text(enum, number) for number in numbers]

    assert [schema_json.enum_number(enum, word or "") for word in words] == numbers
    assert all(word == word.lower() for word in words if word)


def test_other_records_than_executions_are_written_too() -> None:
    assert schema_json.dumps(records.RetryConfig()) == '{"retryOn":[]}'
