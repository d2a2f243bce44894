"""Owns the rules about leases that arrive, and about their results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from backlane.schema.values import from_value
from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.leases import ECHO, FAIL, HOLD, SUM
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import Settings
from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api

if TYPE_CHECKING:
    from backlane.testing.conformance.session import Session
    from backlane.testing.conformance.stage import Stage

MANY: Final = 256
ITEMS_MAX: Final = 1000
TOKENS: Final = (
    "plain",
    ' spaces, "quotes" and \\backslashes\\ ',
    "line\nbreak\ttab\x00null",
    "ünï¢ødé ✓ 🎉 é",
    "%2F+&=?#/../{}$(true);--",
    "0x7f",
    "long-" * 800,
)
DOCUMENTS: Final = (
    "null",
    "true",
    "0",
    "-2.5e-3",
    '""',
    '"text with \\"quotes\\", \\u00fc, \\ud83c\\udf89 and \\n"',
    "[]",
    "{}",
    '{"": [1, [2, {"a": null}]], "list": [], "b": false, "ü": "✓"}',
    "[" * 20 + "]" * 20,
)


@rule("§6 acknowledge, §7.3", Settings(concurrency=2))
def leases_are_acknowledged(stage: Stage) -> None:
    """Leases that run are acknowledged without waiting for their reports, up to the last slot."""
    session = stage.connect()
    holds = [stage.make(HOLD) for _ in range(stage.settings.concurrency)]
    for hold in holds:
        session.lease(hold)
    session.acknowledged(*holds)


@rule("§2, §7.1", Settings(concurrency=1))
def tokens_are_opaque(stage: Stage) -> None:
    """The worker sends a token back unchanged, whatever its characters and its length."""
    session = stage.connect()
    for token in TOKENS:
        lease = stage.make(ECHO, "1", token=token)
        session.lease(lease)
        report = session.report(lease, otherwise=f"no report names the token {token[:40]!r}")
        demand(
            report.item.execution_id == lease.execution.execution_id,
            f"a report names {report.item.execution_id!r} with the token of another execution",
        )


@rule("§2, §6 complete", Settings(concurrency=4))
def output_is_the_result(stage: Stage) -> None:
    """The output may be any JSON, and is reported with the lease that it belongs to."""
    session = stage.connect()
    for document in DOCUMENTS:
        lease = stage.make(ECHO, document)
        session.lease(lease)
        _check_output(session, lease, json.loads(document))
    sums = [stage.make(SUM, json.dumps({"numbers": [n, n, 0.5]})) for n in range(4)]
    session.lease(*sums)
    for number, lease in enumerate(sums):
        _check_output(session, lease, {"sum": 2 * number + 0.5})


@rule("§6 leases", Settings(concurrency=300))
def a_message_carries_many_leases(stage: Stage) -> None:
    """All 256 leases of one message are run and reported, at most 1000 in a message."""
    session = stage.connect()
    leases = [stage.make(ECHO, str(number)) for number in range(MANY)]
    session.lease(*leases)
    for number, lease in enumerate(leases):
        _check_output(session, lease, number)
    for _, request in session.ledger.received:
        _check_size(request)


@rule("§3, §5 Complete")
def input_may_be_absent(stage: Stage) -> None:
    """An execution without input is run; an echo without input returns null."""
    session = stage.connect()
    lease = stage.make(ECHO)
    session.lease(lease)
    _check_output(session, lease, None)


@rule("§5 Fail", Settings(concurrency=1))
def failures_are_failed(stage: Stage) -> None:
    """A callable that fails is reported as a failure, with category and message."""
    session = stage.connect()
    lease = stage.make(FAIL, '"it broke: ü"')
    session.lease(lease)
    report = session.report(lease)
    demand(report.kind == "fail", f"a callable that fails was reported by {report.kind}")
    assert isinstance(report.item, api.Failure)  # noqa: S101  # as demanded
    error = report.item.error
    category = records.ErrorCategory.Name(error.category)
    demand(
        error.category == records.ERROR_CATEGORY_TOOL_ERROR,
        f"the failure's category is {category}, and should be ERROR_CATEGORY_TOOL_ERROR",
    )
    demand("it broke: ü" in error.message, f"the failure's message is {error.message!r}")


@rule("§7.4", Settings(concurrency=1))
def another_attempt_is_run_again(stage: Stage) -> None:
    """Another attempt of an execution is run again, under its new token."""
    session = stage.connect()
    first = stage.make(ECHO, "1")
    session.lease(first)
    session.report(first)
    execution_id = first.execution.execution_id
    second = stage.make(ECHO, "1", execution_id=execution_id, attempt=2)
    session.lease(second)
    session.report(second, otherwise="attempt 2 of an execution that ran before was not reported")
    again = session.ledger.reports_of(first.lease_token)
    demand(len(again) == 1, "the first attempt's token was reported again")


def _check_output(session: Session, lease: api.Lease, expected: object) -> None:
    report = session.report(lease)
    shown = lease.execution.input if lease.execution.HasField("input") else "nothing"
    about = f"{lease.execution.callable_name} of {shown[:60]}"
    demand(report.kind == "complete", f"{about} was reported by {report.kind}")
    assert isinstance(report.item, api.CompleteResult)  # noqa: S101  # as demanded
    output = from_value(report.item.output)
    is_same = output == expected and isinstance(output, bool) == isinstance(expected, bool)
    demand(is_same, f"{about} has the output {json.dumps(output)[:100]}")


def _check_size(request: api.WorkRequest) -> None:
    items = (
        len(request.acknowledge.leases)
        or len(request.complete.results)
        or len(request.fail.failures)
        or len(request.release.releases)
    )
    demand(items <= ITEMS_MAX, f"a message has {items} items, more than {ITEMS_MAX}")


RULES = (
    leases_are_acknowledged,
    tokens_are_opaque,
    output_is_the_result,
    a_message_carries_many_leases,
    input_may_be_absent,
    failures_are_failed,
    another_attempt_is_run_again,
)
