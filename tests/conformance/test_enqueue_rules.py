"""Every field rule of an enqueue, for each of the four ways to send one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from backlane.v1 import execution_service_pb2 as api
from tests.conformance.door import KIB, MIB, TIMEOUT_S, Door, nested, put, text
from tests.conformance.refusals import assert_refusal, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.rpc.status_pb2 import Status

    Way = Callable[[Door, api.EnqueueRequest], tuple[Status, str]]

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LONGEST_DELAY_MS = 36_500 * 24 * 3_600_000
LATE = Timestamp(seconds=2_000_000_000)
TOO_LATE = Timestamp(seconds=253_402_300_800)
BEFORE_TIME = Timestamp(seconds=-1)
NEGATIVE_NANOS = Timestamp(seconds=1, nanos=-1)
MANY_NANOS = Timestamp(seconds=1, nanos=1_000_000_000)


class Rule(NamedTuple):
    """A field, a value that breaks its rule, and how that is answered."""

    field: str
    value: object
    reason: str = "INVALID_ARGUMENT"
    named: str = ""

    def __str__(self) -> str:
        return f"{self.field}={str(self.value)[:24]!r}"


RULES = [
    *(Rule("callable_name", name) for name in ("", "a b", "a\n", "ä", "a*", "x" * 257)),
    Rule("input", "x" * (MIB + 1), "TOO_LARGE"),
    Rule("input", "ä" * (MIB // 2) + "x", "TOO_LARGE"),
    Rule("context", {"k": "x" * (64 * KIB)}, "TOO_LARGE"),
    Rule("context", {f"{n}": "x" * KIB for n in range(64)}, "TOO_LARGE"),
    Rule("metadata", {"k": text("x" * (64 * KIB))}, "TOO_LARGE"),
    Rule("metadata", {"k": Value()}, named='metadata["k"]'),
    Rule("metadata", {"k": nested(25)}, named='metadata["k"]'),
    *(
        Rule("metadata", {"k": Value(number_value=number)}, named='metadata["k"]')
        for number in (math.nan, math.inf, -math.inf)
    ),
    *(Rule("config.mode", number) for number in (4, 99, -1)),
    *(Rule("config.priority", number) for number in (256, 2**32 - 1)),
    Rule("config.timeout_ms", 0),
    Rule("config.target_binding.target_type", "thread.title", named="config.target_binding"),
    Rule("config.callback_url", "https://example.com"),
    Rule("config.callback_url", ""),
    *(Rule("config.retry.max_attempts", number) for number in (0, 2**16)),
    *(Rule("config.retry.strategy", number) for number in (4, -1)),
    *(
        Rule("config.retry.backoff_multiplier", number)
        for number in (-1.0, math.nan, math.inf, -math.inf)
    ),
    Rule("config.retry.retry_on", [2, 0], named="config.retry.retry_on[1]"),
    Rule("config.retry.retry_on", [9], named="config.retry.retry_on[0]"),
    Rule("config.retry.retry_on", [-1], named="config.retry.retry_on[0]"),
    *(
        Rule(field, at)
        for field in ("not_before", "start_deadline", "deadline")
        for at in (TOO_LATE, BEFORE_TIME, NEGATIVE_NANOS, MANY_NANOS)
    ),
    *(Rule("delay_ms", number) for number in (LONGEST_DELAY_MS + 1, 2**64 - 1)),
    *(Rule("max_worker_losses", number) for number in (0, 101, 2**32 - 1)),
    *(Rule("dedup_key", key) for key in ("x" * 257, "a\n", "ä", "\x7f")),
    *(Rule("dedup_policy", number) for number in (4, -1)),
    *(
        Rule("traceparent", trace)
        for trace in (
            "x",
            TRACE[:-1],
            TRACE.upper(),
            TRACE + "-x",
            "ff" + TRACE[2:],
            TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
            TRACE.replace("00f067aa0ba902b7", "0" * 16),
        )
    ),
    Rule("traceparent", "01" + TRACE[2:] + "-" + "x" * 256, "TOO_LARGE"),
]
SINGLE_RULES = [
    *(Rule("tenant_id", name) for name in ("", "a b", "ä", "a*", "x" * 129)),
    *(Rule("request_id", key) for key in ("x" * 129, "a\n", "ä", "\x7f")),
]
"""Rules of what an item of a batch has no own of."""


def by_enqueue(door: Door, request: api.EnqueueRequest) -> tuple[Status, str]:
    return refused(lambda: door.call("Enqueue", request)), ""


def by_run(door: Door, request: api.EnqueueRequest) -> tuple[Status, str]:
    run = api.RunRequest(enqueue=request, timeout=Duration())
    return refused(lambda: door.call("Run", run)), "enqueue."


def by_batch(door: Door, request: api.EnqueueRequest) -> tuple[Status, str]:
    items = [door.new(), door.new(), door.new(), request]
    batch = api.EnqueueBatchRequest(tenant_id=door.tenant, items=items)
    return refused(lambda: door.call("EnqueueBatch", batch)), "items[3]."


def by_stream(door: Door, request: api.EnqueueRequest) -> tuple[Status, str]:
    messages = [api.EnqueueStreamRequest(items=[request])]
    [response] = door.producer.EnqueueStream(iter(messages), timeout=TIMEOUT_S)
    [outcome] = response.outcomes
    return outcome.status, "items[0]."


SINGLE_WAYS = [by_enqueue, by_run, by_stream]
WAYS = [*SINGLE_WAYS, by_batch]


def assert_kept(door: Door, rule: Rule, way: Way) -> None:
    """Break a rule, and see it named and nothing changed."""
    door.enqueue()
    before = door.everything()
    request = door.new()
    put(request, rule.field, rule.value)
    status, prefix = way(door, request)

    assert_refusal(status, rule.reason, prefix + (rule.named or rule.field))
    assert door.everything() == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_broken_rule_is_named(door: Door, rule: Rule, way: Way) -> None:
    assert_kept(door, rule, way)


@pytest.mark.parametrize("way", SINGLE_WAYS)
@pytest.mark.parametrize("rule", SINGLE_RULES, ids=str)
def test_a_broken_rule_of_a_single_one_is_named(door: Door, rule: Rule, way: Way) -> None:
    assert_kept(door, rule, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", ["start_deadline", "deadline"])
@pytest.mark.parametrize("at", [LATE, Timestamp(seconds=LATE.seconds - 1)], ids=["equal", "before"])
def test_a_deadline_is_later_than_not_before(
    door: Door, field: str, at: Timestamp, way: Way
) -> None:
    before = door.everything()
    request = door.new(not_before=LATE)
    put(request, field, at)
    status, prefix = way(door, request)

    assert_refusal(status, "INVALID_ARGUMENT", prefix + field)
    assert door.everything() == before


@pytest.mark.parametrize("way", WAYS)
def test_a_delay_and_not_before_exclude_each_other(door: Door, way: Way) -> None:
    before = door.everything()
    status, prefix = way(door, door.new(not_before=LATE, delay_ms=0))

    assert_refusal(status, "INVALID_ARGUMENT", prefix + "delay_ms")
    assert door.everything() == before


def test_json_that_is_too_deep_is_told_how_deep_it_may_be(door: Door) -> None:
    status = refused(lambda: door.call("Enqueue", door.new(metadata={"k": nested(25)})))

    assert status.message == 'metadata["k"]: must nest at most 24 levels deep'


ACCEPTED = [
    ("callable_name", "AZaz09._:@/-" + "x" * 244),
    ("request_id", "~ " + "x" * 126),
    ("dedup_key", " ~" + "x" * 254),
    ("config.priority", 0),
    ("config.priority", 255),
    ("config.timeout_ms", 1),
    ("config.timeout_ms", 2**64 - 1),
    ("config.retry.max_attempts", 2**16 - 1),
    ("config.retry.initial_delay_ms", 2**64 - 1),
    ("config.retry.max_delay_ms", 0),
    ("config.retry.backoff_multiplier", 0.0),
    ("config.retry.retry_on", [1, 2, 3, 4, 5, 6, 7, 8]),
    ("max_worker_losses", 1),
    ("max_worker_losses", 100),
    ("not_before", Timestamp()),
    ("not_before", Timestamp(seconds=253_402_300_799)),
    ("metadata", {"k": nested(24)}),
    ("traceparent", TRACE),
    ("traceparent", "01" + TRACE[2:] + "-more"),
    ("input", ""),
    ("input", "\x00ä😀"),
]


@pytest.mark.parametrize(("field", "value"), ACCEPTED, ids=lambda value: str(value)[:24])
def test_what_is_just_within_a_rule_is_taken_and_shown(
    door: Door, field: str, value: object
) -> None:
    request = door.new()
    put(request, field, value)
    made = door.producer.Enqueue(request, timeout=TIMEOUT_S).execution

    assert door.get(made.execution_id) == made
    if field != "request_id":
        expected = type(made).FromString(made.SerializeToString())
        put(expected, field, value)
        assert expected == made


def test_a_tenants_name_may_be_128_characters(door: Door) -> None:
    name = (door.tenant + "._:@/-" + "x" * 128)[:128]

    assert door.enqueue(tenant_id=name).tenant_id == name
