"""The commands against a real server, with a worker process beside it."""

from __future__ import annotations

import io
import json
import signal
from typing import TYPE_CHECKING

import pytest

from backlane import BackgroundExecution
from backlane.schema import json as schema_json
from backlane.v1.execution_service_pb2 import ExplainResponse, GetQueueStatsResponse
from tests.conformance.door import UNKNOWN_ID, new_tenant
from tests.integration.cli_process import started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import ServerProcess
    from tests.integration.cli_process import Ask

APP = """\
import backlane

worker = backlane.Worker(concurrency=4)


@worker.callable
def greet(name: str) -> str:
    return f"hello {name}"


@worker.callable
async def describe(text: str) -> dict[str, object]:
    return {"text": text, "length": len(text)}


@worker.callable
def fail(message: str) -> None:
    raise ConnectionError(message)
"""


@pytest.fixture(scope="module")
def working(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A worker process, and the tenant that it works for."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "app.py").write_text(APP)
    tenant = new_tenant()
    arguments = ["worker", "app:worker", "--target", server.target, "--tenant", tenant]
    with started(*arguments, "--log-level", "error", folder=folder) as process:
        yield tenant
        assert process.end(signal.SIGTERM) == 0


def test_enqueue_prints_the_id_alone(ask: Ask) -> None:
    made = ask("enqueue", "greet", '"Ada"')

    assert (made.status, made.err) == (0, "")
    assert ask("get", made.out.strip(), "--json").record.input == '"Ada"'


@pytest.mark.parametrize("text", ['{"a":  1}', "", "no JSON", "-1", "é\n"])
def test_an_input_arrives_as_it_was_typed(ask: Ask, text: str) -> None:
    made = ask("enqueue", "--json", "greet", "--", text)

    assert made.record.input == text


def test_an_enqueue_takes_every_option(ask: Ask, tenant: str) -> None:
    record = ask(
        *("enqueue", "greet", "x", "--json", "--priority", "0", "--timeout", "90s"),
        *("--delay", "1h", "--deadline", "3h", "--start-deadline", "2h", "--max-attempts", "5"),
        *("--retry-delay", "500ms", "--retry-strategy", "linear", "--max-retry-delay", "2m"),
        *("--max-worker-losses", "1", "--request-id", "r", "--dedup-key", "k"),
        *("--dedup-policy", "reject", "--context", "a=b", "--metadata", 'c={"d": [1]}'),
        *("--cancellation-policy", "detach"),
    ).record

    told = json.loads(record.to_json())
    assert told["config"] == {
        "mode": "fire_and_forget",
        "priority": 0,
        "timeoutMs": 90_000,
        "retry": {
            "maxAttempts": 5,
            "strategy": "linear",
            "initialDelayMs": 500,
            "backoffMultiplier": 2,
            "maxDelayMs": 120_000,
            "jitter": True,
            "retryOn": [],
        },
    }
    assert (record.context, record.metadata) == ({"a": "b"}, {"c": {"d": [1]}})
    assert [told["maxWorkerLosses"], told["dedupKey"], told["tenantId"]] == [1, "k", tenant]
    assert told["notBefore"] < told["startDeadline"] < told["deadline"]
    assert told["cancellationPolicy"] == "detach"


def test_a_repeated_request_prints_the_same_id_and_says_so(ask: Ask) -> None:
    first = ask("enqueue", "greet", "x", "--request-id", "r")
    again = ask("enqueue", "greet", "x", "--request-id", "r")

    assert (again.status, again.out) == (0, first.out)
    assert again.err == (
        f"backlane: {first.out.strip()} existed already, with the same request id or dedup key\n"
    )


def test_another_body_under_a_request_id_is_refused(ask: Ask) -> None:
    ask("enqueue", "greet", "x", "--request-id", "r")

    assert ask("enqueue", "greet", "y", "--request-id", "r") == (
        6,
        "",
        (
            "backlane: request id r was used before with another body: name another --request-id, "
            "or repeat the same request\n"
        ),
    )


def test_a_dedup_key_that_is_taken_is_refused(ask: Ask) -> None:
    holder = ask("enqueue", "greet", "--dedup-key", "k").out.strip()

    refused = ask("enqueue", "greet", "--dedup-key", "k", "--dedup-policy", "reject")

    assert (refused.status, refused.out) == (6, "")
    assert refused.err == (
        f"backlane: execution {holder} is unfinished and has the dedup key k: see `backlane get "
        f"{holder}`\n"
    )


def test_run_prints_a_string_bare_and_all_else_as_json(ask: Ask, working: str) -> None:
    bare = ask("run", "greet", "Ada", "--tenant", working)
    document = ask("run", "describe", "é", "--tenant", working)

    assert bare == (0, "hello Ada\n", "")
    assert (document.status, json.loads(document.out)) == (0, {"text": "é", "length": 1})


@pytest.mark.parametrize("text", ["123", "007", "true", "null", '"Ada"', "[1]", "1e3"])
def test_run_with_text_sends_a_string_whatever_it_looks_like(
    ask: Ask, working: str, text: str
) -> None:
    answer = ask("run", "greet", "--text", text, "--tenant", working)

    assert answer == (0, f"hello {text}\n", "")


def test_run_hints_at_text_if_a_callable_refuses_what_looks_like_json(
    ask: Ask, working: str
) -> None:
    number = ask("run", "greet", "123", "--tenant", working)
    nothing = ask("run", "greet", "--tenant", working)

    assert (number.status, nothing.status) == (1, 1)
    assert (
        "Input should be a valid string; if INPUT is meant as a string, add --text;" in number.err
    )
    assert "--text" not in nothing.err


def test_run_takes_json_from_stdin(ask: Ask, working: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'"Eve"')))

    assert ask("run", "greet", "-", "--tenant", working).out == "hello Eve\n"


def test_run_with_json_prints_the_record_to_the_byte(ask: Ask, working: str) -> None:
    answer = ask("run", "greet", "Ada", "--json", "--tenant", working)

    assert (answer.status, answer.record.output, answer.record.mode) == (0, "hello Ada", "silent")
    assert answer.record.to_json() + "\n" == answer.out


def test_run_tells_why_it_failed(ask: Ask, working: str) -> None:
    answer = ask("run", "fail", "no\nhost \x1b[31m", "--tenant", working)
    [failed] = ask("list", "--status", "failed", "--limit", "1", "--tenant", working).out.split(
        "\n"
    )[1:2]
    execution_id = failed.split()[0]

    assert (answer.status, answer.out) == (1, "")
    assert answer.err == (
        f"backlane: {execution_id} ended with status failed, network_error: ConnectionError: no "
        f"host \\x1b[31m; see `backlane get {execution_id} --tenant {working}`\n"
    )


def test_run_with_json_prints_a_failed_record_too(ask: Ask, working: str) -> None:
    answer = ask(
        *("run", "fail", "x", "--json", "--max-attempts", "2", "--retry-delay", "1ms"),
        *("--tenant", working),
    )

    assert (answer.status, answer.err) == (1, "")
    assert (answer.record.status, answer.record.attempt) == ("failed", 2)


def test_a_failure_is_shown_with_its_traceback(ask: Ask, working: str) -> None:
    failed = ask("run", "fail", "no host", "--json", "--tenant", working).record

    shown = ask("get", failed.execution_id, "--tenant", working).out

    assert "error      network_error: ConnectionError: no host\n" in shown
    assert "traceback  Traceback (most recent call last):\n" in shown
    assert "    raise ConnectionError(message)\n" in shown


def test_run_says_that_no_worker_takes_it(
    ask: Ask, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backlane.cli.run.PATIENCE_S", 0.01)

    answer = ask("run", "nobody.offers", "--wait", "50ms")

    assert (answer.status, answer.out) == (5, "")
    told, ended = answer.err.splitlines()
    offers = f"no live worker offers callable nobody.offers for tenant {tenant}"
    assert f"is still queued: {offers}; none is known" in told
    assert told.endswith("; start one with `backlane worker MODULE:WORKER`")
    assert (
        "was still queued when the wait timed out; the execution continues; see `backlane wait "
        "exec_" in ended
    )


def test_run_says_when_it_is_due(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backlane.cli.run.PATIENCE_S", 0.01)

    answer = ask("run", "greet", "Ada", "--delay", "1h", "--wait", "20ms")

    told = answer.err.splitlines()[0]
    assert "is still queued: it is scheduled for " in told
    assert told.endswith("Z, in 59 minutes")


@pytest.mark.parametrize(("words", "least"), [((), 2), (("--any",), 1), (("--count", "2"), 2)])
def test_wait_ends_with_0_when_they_completed(
    ask: Ask, working: str, words: tuple[str, ...], least: int
) -> None:
    ids = [ask("enqueue", "greet", "x", "--tenant", working).out.strip() for _ in range(2)]

    answer = ask("wait", *ids, *words, "--json", "--tenant", working)

    records = [BackgroundExecution.from_json(line) for line in answer.out.splitlines()]
    assert (answer.status, answer.err) == (0, "")
    assert [record.execution_id for record in records] == ids
    assert sum(record.is_success for record in records) >= least


def test_wait_ends_with_1_when_one_did_not_complete(ask: Ask) -> None:
    made = ask("enqueue", "greet").out.strip()
    ask("cancel", made)

    answer = ask("wait", made)

    assert (answer.status, answer.err) == (1, "")
    heading, row = answer.out.splitlines()
    assert heading.split() == ["ID", "STATUS", "CALLABLE", "AGE", "NOTE"]
    assert row.split()[:3] == [made, "cancelled", "greet"]


def test_wait_ends_with_5_when_the_time_is_over(ask: Ask) -> None:
    made = ask("enqueue", "greet").out.strip()

    answer = ask("wait", made, "--timeout", "0s")

    assert (answer.status, answer.out.split()[5:7]) == (5, [made, "queued"])
    assert answer.err == "backlane: the wait timed out; the executions continue\n"


@pytest.mark.parametrize(
    ("unknown", "status", "line"),
    [
        (UNKNOWN_ID, 3, "tenant {tenant} has no execution {id}: name another tenant with --tenant"),
        ("nope", 2, "nope: execution_ids[1]: must be `exec_` followed by a 27-character KSUID"),
    ],
)
def test_wait_tells_of_ids_that_cannot_be_waited_for(
    ask: Ask, tenant: str, unknown: str, status: int, line: str
) -> None:
    made = ask("enqueue", "greet").out.strip()
    ask("cancel", made)

    answer = ask("wait", made, unknown)

    assert (answer.status, answer.out.count("\n")) == (status, 2)
    assert answer.err.startswith(f"backlane: {line.format(tenant=tenant, id=unknown)}")


@pytest.mark.parametrize("command", ["get", "cancel"])
def test_an_unknown_execution_is_status_3(ask: Ask, tenant: str, command: str) -> None:
    assert ask(command, UNKNOWN_ID) == (
        3,
        "",
        (
            f"backlane: tenant {tenant} has no execution {UNKNOWN_ID}: name another tenant with "
            "--tenant, or see `backlane list`\n"
        ),
    )


def test_cancel_ends_a_queued_one_and_refuses_a_second_time(ask: Ask) -> None:
    made = ask("enqueue", "greet").out.strip()

    first = ask("cancel", made, "--json")
    again = ask("cancel", made)

    assert (first.status, first.record.status) == (0, "cancelled")
    line = f"execution {made} is cancelled and cannot be cancelled; see `backlane get {made}`"
    assert again == (6, "", f"backlane: {line}\n")


def test_list_shows_the_newest_first_and_says_that_there_are_more(ask: Ask) -> None:
    made = [ask("enqueue", "greet", str(number)).out.strip() for number in range(3)]

    answer = ask("list", "--limit", "2")

    assert [line.split()[0] for line in answer.out.splitlines()[1:]] == made[:0:-1]
    assert answer.err == (
        "backlane: only the newest 2 are shown: raise --limit, or use --limit 0 to show all\n"
    )


def test_list_as_json_lines_goes_there_and_back_to_the_byte(ask: Ask) -> None:
    for number in range(3):
        ask("enqueue", "greet", str(number))

    answer = ask("list", "--limit", "0", "--full", "--json")

    records = [BackgroundExecution.from_json(line) for line in answer.out.splitlines()]
    assert [record.input for record in records] == ["2", "1", "0"]
    assert [record.to_json() for record in records] == answer.out.splitlines()
    assert (answer.status, answer.err) == (0, "")


def test_list_can_be_narrowed_to_a_status(ask: Ask) -> None:
    ask("enqueue", "greet")
    cancelled = ask("enqueue", "greet").out.strip()
    ask("cancel", cancelled)

    answer = ask("list", "--status", "cancelled", "--json")

    assert answer.record.execution_id == cancelled


def test_list_in_full_shows_records_below_each_other(ask: Ask) -> None:
    for number in range(2):
        ask("enqueue", "greet", f"input {number}")

    first, second = ask("list", "--full").out.split("\n\n")

    assert ("input 1" in first, "input 0" in second) == (True, True)


def test_peek_shows_the_order_of_the_leases(ask: Ask) -> None:
    low = ask("enqueue", "a.greet", "--priority", "1").out.strip()
    high = ask("enqueue", "a.greet", "--priority", "9").out.strip()
    ask("enqueue", "b.greet")

    answer = ask("peek", "--callable", "a.*", "--limit", "5")

    assert [line.split()[0] for line in answer.out.splitlines()[1:]] == [high, low]


def test_stats_count_by_callable(ask: Ask) -> None:
    ask("enqueue", "greet")
    ask("enqueue", "greet", "--delay", "1h")
    ask("enqueue", "add")

    rows = [line.split() for line in ask("stats").out.splitlines()[:4]]
    told = ask("stats", "--json").out.strip()

    assert rows == [
        ["CALLABLE", "READY", "PENDING", "RETRYING", "RUNNING", "SUSPENDED", "HELD", "ENDING"],
        ["add", "1", "0", "0", "0", "0", "0", "0"],
        ["greet", "1", "1", "0", "0", "0", "0", "0"],
        ["(all)", "2", "1", "0", "0", "0", "0", "0"],
    ]
    assert schema_json.dumps(schema_json.loads(GetQueueStatsResponse, told)) == told


def test_why_says_each_reason_in_a_line(ask: Ask) -> None:
    first = ask("enqueue", "greet").out.strip()
    second = ask("enqueue", "greet", "--after", first, "--delay", "1h").out.strip()
    ask("pause", second)

    depends, later, paused = ask("why", second).out.splitlines()
    told = ask("why", first, "--json").out.strip()

    assert depends == f"it waits for 1 execution: {first} (queued)"
    assert later.startswith("it is scheduled for ")
    assert paused.startswith("a client paused it ")
    assert schema_json.dumps(schema_json.loads(ExplainResponse, told)) == told
    assert "no live worker offers callable greet" in told
