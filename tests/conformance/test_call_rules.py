"""Every field rule of the calls that read executions and of those that lease them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from google.protobuf.duration_pb2 import Duration

from backlane.v1 import admin_service_pb2 as admin
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from tests.conformance.door import UNKNOWN_ID, Door, put
from tests.conformance.refusals import assert_refusal, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message
    from google.rpc.status_pb2 import Status

BAD_NAMES = ("", "a b", "ä", "a*", "x" * 129)
BAD_IDS = (
    "",
    "exec_",
    UNKNOWN_ID[:-1],
    UNKNOWN_ID + "x",
    UNKNOWN_ID.replace("exec_", "step_"),
    UNKNOWN_ID[:-1] + "-",
    "exec_" + "z" * 27,
)
BAD_PATTERNS = ("", "a*", "*.a", ".*", "a b", "**", "ä.*", "x" * 257, "x" * 257 + ".*")
TOO_LONG = Duration(seconds=3_600, nanos=1)
BAD_DURATIONS = (
    TOO_LONG,
    Duration(seconds=-1),
    Duration(nanos=-1),
    Duration(nanos=1_000_000_000),
    Duration(seconds=315_576_000_000),
)


class Rule(NamedTuple):
    """A call, a field of its request, a value that breaks its rule, and the field it names."""

    call: str
    field: str
    value: object
    named: str = ""

    def __str__(self) -> str:
        return f"{self.call}.{self.field}={str(self.value)[:24]!r}"


def lease_request(door: Door) -> work.LeaseRequest:
    return work.LeaseRequest(worker_id="w1", callables=["*"], tenant_ids=[door.tenant])


VALID: Mapping[str, Callable[[Door], Message]] = {
    "Get": lambda door: api.GetRequest(tenant_id=door.tenant, execution_id=UNKNOWN_ID),
    "List": lambda door: api.ListRequest(tenant_id=door.tenant),
    "Count": lambda door: api.CountRequest(tenant_id=door.tenant),
    "Wait": lambda door: api.WaitRequest(
        tenant_id=door.tenant, execution_ids=[UNKNOWN_ID, door.enqueue().execution_id]
    ),
    "Cancel": lambda door: api.CancelRequest(tenant_id=door.tenant, execution_id=UNKNOWN_ID),
    "Delete": lambda door: api.DeleteRequest(tenant_id=door.tenant, execution_id=UNKNOWN_ID),
    "Peek": lambda door: api.PeekRequest(tenant_id=door.tenant),
    "GetQueueStats": lambda door: api.GetQueueStatsRequest(tenant_id=door.tenant),
    "GetTaskRecord": lambda door: api.GetTaskRecordRequest(
        tenant_id=door.tenant, execution_id=UNKNOWN_ID
    ),
    "ListDeadLetters": lambda door: api.ListDeadLettersRequest(tenant_id=door.tenant),
    "DiscardDeadLetters": lambda door: api.DiscardDeadLettersRequest(
        tenant_id=door.tenant, execution_ids=[UNKNOWN_ID]
    ),
    "Redrive": lambda door: api.RedriveRequest(tenant_id=door.tenant, execution_id=UNKNOWN_ID),
    "EnqueueBatch": lambda door: api.EnqueueBatchRequest(
        tenant_id=door.tenant, items=[door.new(), door.new()]
    ),
    "Run": lambda door: api.RunRequest(enqueue=door.new(), timeout=Duration()),
    "Lease": lease_request,
    "RenewLeases": lambda _: work.RenewLeasesRequest(leases=[work.LeaseRef()]),
    "Complete": lambda _: work.CompleteRequest(results=[work.CompleteResult()]),
    "Fail": lambda _: work.FailRequest(failures=[work.Failure()]),
    "Release": lambda _: work.ReleaseRequest(releases=[work.LeaseRef()]),
    "ReportProgress": lambda _: work.ReportProgressRequest(reports=[work.ProgressReport()]),
    "ReportSteps": lambda _: work.ReportStepsRequest(reports=[work.StepReport()]),
    "Suspend": lambda _: work.SuspendRequest(suspensions=[work.Suspension()]),
    "Explain": lambda door: api.ExplainRequest(tenant_id=door.tenant, execution_id=UNKNOWN_ID),
    "GetExecutionRun": lambda door: api.GetExecutionRunRequest(
        tenant_id=door.tenant, execution_id=UNKNOWN_ID
    ),
    "ProvideInput": lambda door: api.ProvideInputRequest(
        tenant_id=door.tenant, execution_id=UNKNOWN_ID, key="k"
    ),
    "Pause": lambda door: api.PauseRequest(tenant_id=door.tenant, execution_id=UNKNOWN_ID),
    "Resume": lambda door: api.ResumeRequest(tenant_id=door.tenant, execution_id=UNKNOWN_ID),
    "SetLimits": lambda door: admin.SetLimitsRequest(tenant_id=door.tenant, max_running=1),
    "ListLimits": lambda door: admin.ListLimitsRequest(tenant_id=door.tenant),
}
"""A request of each call that breaks no rule as a whole."""

OF_ONE = (
    *("Get", "Cancel", "Delete", "Explain", "GetExecutionRun", "ProvideInput"),
    *("Pause", "Resume"),
)
"""The calls about one execution of a tenant."""

RULES = [
    *(
        Rule(call, "tenant_id", name)
        for call in (
            *(*OF_ONE, "List", "Count", "Wait", "Peek", "GetQueueStats", "EnqueueBatch"),
            *("GetTaskRecord", "ListDeadLetters", "DiscardDeadLetters", "Redrive"),
            *("SetLimits", "ListLimits"),
        )
        for name in BAD_NAMES
    ),
    *(
        Rule(call, "execution_id", name)
        for call in (*OF_ONE, "GetTaskRecord", "Redrive")
        for name in BAD_IDS
    ),
    *(Rule("ProvideInput", "key", key) for key in ("", "x" * 129)),
    *(Rule("ProvideInput", "request_id", key) for key in ("x" * 129, "a\n", "ä")),
    *(
        Rule(call, "view", number)
        for call in ("Get", "List", "ListDeadLetters")
        for number in (3, -1)
    ),
    *(
        Rule(call, "filter", text)
        for call in ("List", "Count")
        for text in ("status", "state = queued", "(status = queued", "x" * 4097)
    ),
    *(Rule("List", "status", number) for number in (7, -1)),
    *(
        Rule(call, "page_size", number)
        for call in ("List", "ListDeadLetters")
        for number in (1001, 2**32 - 1)
    ),
    *(
        Rule(call, "page_token", token)
        for call in ("List", "ListDeadLetters")
        for token in ("x", "0" * 32, "\x00", "x" * 4096)
    ),
    *(
        Rule(call, "callable_name", name)
        for call in ("ListDeadLetters", "SetLimits")
        for name in ("a b", "ä", "a*", "x" * 257)
    ),
    *(Rule("Redrive", "request_id", key) for key in ("x" * 129, "a\n", "ä")),
    *(Rule("Redrive", "config.priority", number) for number in (256, 2**32 - 1)),
    Rule("Redrive", "config.timeout_ms", 0),
    Rule("Redrive", "config.callback_url", "https://a"),
    *(
        Rule(call, "execution_ids", ids, named)
        for call in ("Wait", "DiscardDeadLetters")
        for ids, named in (
            ([], ""),
            ([UNKNOWN_ID] * 2, "execution_ids[1]"),
            ([f"x{n}" for n in range(1001)], ""),
        )
    ),
    *(Rule("Wait", "wait_for", number) for number in (4, -1)),
    Rule("Wait", "count", 1),
    *(Rule("Wait", "timeout", duration) for duration in BAD_DURATIONS),
    *(Rule("Peek", "limit", number) for number in (1001, 2**32 - 1)),
    Rule("EnqueueBatch", "items", []),
    *(Rule("EnqueueBatch", "request_id", key) for key in ("x" * 129, "a\n", "ä")),
    Rule("EnqueueBatch", "items[1].tenant_id", "another"),
    Rule("EnqueueBatch", "items[1].request_id", "r"),
    *(Rule("Run", "timeout", duration) for duration in BAD_DURATIONS),
    Rule("Run", "enqueue", None),
    *(Rule("Lease", "worker_id", name) for name in BAD_NAMES),
    Rule("Lease", "callables", []),
    Rule("Lease", "tenant_ids", ["a"] * 1001),
    *(Rule("Lease", "tenant_ids", ["a", name], "tenant_ids[1]") for name in BAD_NAMES),
    *(Rule("Lease", "max_executions", number) for number in (1001, 2**32 - 1)),
    *(
        Rule(call, "lease_duration_ms", ms)
        for call in ("Lease", "RenewLeases")
        for ms in (1, 999, 3_600_001, 2**64 - 1)
    ),
    *(Rule("Lease", "wait_ms", ms) for ms in (60_001, 2**64 - 1)),
    *(
        Rule(call, "callables", ["a", pattern], "callables[1]")
        for call in ("Lease", "Peek")
        for pattern in BAD_PATTERNS
    ),
    *(Rule(call, "callables", ["a"] * 1001) for call in ("Lease", "Peek")),
    *(
        Rule(call, field, items)
        for call, field, item in (
            ("RenewLeases", "leases", work.LeaseRef()),
            ("Complete", "results", work.CompleteResult()),
            ("Fail", "failures", work.Failure()),
            ("Release", "releases", work.LeaseRef()),
            ("ReportProgress", "reports", work.ProgressReport()),
            ("ReportSteps", "reports", work.StepReport()),
            ("Suspend", "suspensions", work.Suspension()),
        )
        for items in ([], [item] * 1001)
    ),
]


def answered(door: Door, call: str, request: Message) -> Status:
    """The status that a call is refused with."""
    return refused(lambda: door.call(call, request))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_broken_rule_is_named(door: Door, rule: Rule) -> None:
    request = VALID[rule.call](door)
    before = door.everything()
    put(request, rule.field, rule.value)
    status = answered(door, rule.call, request)

    assert_refusal(status, "INVALID_ARGUMENT", rule.named or rule.field)
    assert door.everything() == before


@pytest.mark.parametrize("count", [0, 3])
def test_a_wait_for_a_count_needs_one_that_can_be_reached(door: Door, count: int) -> None:
    ids = [door.enqueue().execution_id for _ in range(2)]
    request = api.WaitRequest(
        tenant_id=door.tenant, execution_ids=ids, wait_for=api.WAIT_FOR_COUNT, count=count
    )

    assert_refusal(answered(door, "Wait", request), "INVALID_ARGUMENT", "count")


@pytest.mark.parametrize("bad", BAD_IDS)
def test_an_id_that_is_none_spoils_no_other_of_a_wait(door: Door, bad: str) -> None:
    request = api.WaitRequest(
        tenant_id=door.tenant,
        execution_ids=[UNKNOWN_ID, bad, door.enqueue().execution_id],
        wait_for=api.WAIT_FOR_COUNT,
        count=2,
    )
    answer = door.call("Wait", request)

    assert answer.satisfied
    unknown, garbage, known = answer.outcomes
    assert_refusal(unknown.status, "EXECUTION_NOT_FOUND")
    assert_refusal(garbage.status, "INVALID_ARGUMENT", "execution_ids[1]")
    assert known.execution.execution_id == request.execution_ids[2]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_an_id_that_is_none_spoils_no_other_of_a_discard(door: Door, bad: str) -> None:
    living = door.enqueue().execution_id
    request = api.DiscardDeadLettersRequest(
        tenant_id=door.tenant, execution_ids=[UNKNOWN_ID, bad, living]
    )
    unknown, garbage, known = door.call("DiscardDeadLetters", request).outcomes

    assert_refusal(unknown.status, "EXECUTION_NOT_FOUND")
    assert_refusal(garbage.status, "INVALID_ARGUMENT", "execution_ids[1]")
    assert_refusal(known.status, "TRANSITION_NOT_ALLOWED")


ACCEPTED = [
    ("List", "page_size", 1000),
    *((call, "filter", f"callable = '{'x' * 4083}'") for call in ("List", "Count")),
    ("ListDeadLetters", "page_size", 1000),
    ("ListDeadLetters", "callable_name", "x" * 256),
    ("DiscardDeadLetters", "execution_ids", [f"x{n}" for n in range(1000)]),
    ("Wait", "timeout", Duration()),
    ("Peek", "limit", 1000),
    ("Peek", "callables", ["a.*", "*", "b"] + [f"c{n}" for n in range(997)]),
    ("Lease", "callables", [f"c{n}.*" for n in range(1000)]),
    ("Lease", "callables", ["x" * 256, "y" * 256 + ".*"]),
    ("Lease", "tenant_ids", [f"none-{n}" for n in range(1000)]),
    ("Lease", "worker_id", "AZaz09._:@/-" + "x" * 116),
    ("Lease", "max_executions", 1000),
    ("Lease", "lease_duration_ms", 1000),
    ("Lease", "lease_duration_ms", 3_600_000),
    ("RenewLeases", "lease_duration_ms", 3_600_000),
    ("RenewLeases", "leases", [work.LeaseRef(execution_id=UNKNOWN_ID)] * 1000),
]


@pytest.mark.parametrize(("call", "field", "value"), ACCEPTED, ids=lambda value: str(value)[:24])
def test_what_is_just_within_a_rule_is_taken(
    door: Door, call: str, field: str, value: object
) -> None:
    request = VALID[call](door)
    if call == "Wait":
        put(request, "wait_for", api.WAIT_FOR_ANY)
    put(request, field, value)

    door.call(call, request)


def test_a_page_token_is_bound_to_its_list(door: Door) -> None:
    for _ in range(2):
        door.enqueue()
    request = api.ListRequest(tenant_id=door.tenant, page_size=1)
    token = door.call("List", request).next_page_token
    assert token
    for field, value in (("status", 1), ("tenant_id", door.tenant + "x")):
        other = api.ListRequest(tenant_id=door.tenant, page_size=1, page_token=token)
        put(other, field, value)
        assert_refusal(answered(door, "List", other), "INVALID_ARGUMENT", "page_token")
