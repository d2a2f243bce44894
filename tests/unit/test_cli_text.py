"""How the commands read and print instants, inputs, rows, records and problems."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import typer

from backlane.cli.durations import read_duration, read_instant, show_duration, show_instant
from backlane.cli.enqueue_flags import EnqueueFlags
from backlane.cli.inputs import hint_of_text, read_input
from backlane.cli.list import print_list
from backlane.cli.records import fields, note, output_text, row
from backlane.cli.tables import print_fields, print_table
from backlane.cli.trouble import printable, say
from backlane.schema.options import ABSENT, RawInput, Retry
from backlane.schema.records import BackgroundExecution

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backlane.schema.values import Json

ID = "exec_3MOMcOolOcx4bwVikYfmbIx7Nm6"


def record(status: str, **others: Any) -> BackgroundExecution:  # noqa: ANN401  # of the schema
    """An execution as its schema JSON has it."""
    now = datetime.now(UTC).isoformat()
    told = {"executionId": ID, "tenantId": "acme", "callableName": "greet", "queuedAt": now}
    return BackgroundExecution.from_json(json.dumps({**told, "status": status, **others}))


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(0), "0ms"),
        (timedelta(milliseconds=999, microseconds=999), "999ms"),
        (timedelta(seconds=1), "1s"),
        (timedelta(seconds=1.58), "1.5s"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(seconds=60), "1m"),
        (timedelta(seconds=3599), "59m 59s"),
        (timedelta(hours=25, minutes=3), "1d 1h"),
        (timedelta(days=400), "400d"),
    ],
)
def test_a_length_of_time_is_shown_in_two_units_at_most(length: timedelta, shown: str) -> None:
    assert show_duration(length) == shown


def test_an_instant_is_shown_in_utc_to_the_millisecond() -> None:
    instant = datetime.fromisoformat("2026-01-31T10:00:00.1239+02:00")

    assert show_instant(instant) == "2026-01-31T08:00:00.123Z"


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("10s", timedelta(seconds=10)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
    ],
)
def test_a_duration_is_read_as_the_server_reads_it(text: str, length: timedelta) -> None:
    assert read_duration("--delay", text) == length


def test_an_instant_is_read_with_its_zone() -> None:
    instant = read_instant("--deadline", "2026-01-31T08:00:00Z")

    assert instant == datetime(2026, 1, 31, 8, tzinfo=UTC)


def test_a_duration_from_now_is_an_instant() -> None:
    before = datetime.now(UTC)
    instant = read_instant("--deadline", "10m")
    after = datetime.now(UTC)

    assert before <= instant - timedelta(minutes=10) <= after


def test_an_input_on_the_command_line_is_sent_as_it_is() -> None:
    assert read_input('{"a":  1}') == RawInput('{"a":  1}')


def test_no_input_is_not_an_empty_one() -> None:
    assert (read_input(None), read_input("")) == (ABSENT, RawInput(""))


def test_an_input_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("é\r\n", encoding="utf-8", newline="")

    assert read_input(f"@{tmp_path}/input") == RawInput("é\r\n")


def test_an_input_is_read_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"@home\n")))

    assert read_input("-") == RawInput("@home\n")


@pytest.mark.parametrize("text", ["123", "true", '"quoted"', "007", "Ada"])
def test_an_input_that_is_meant_as_text_is_a_string_whatever_it_looks_like(text: str) -> None:
    read = read_input(text, as_text=True)

    assert (read, type(read)) == (text, str)


def test_an_input_that_could_be_a_text_is_hinted_at() -> None:
    hint = "; if INPUT is meant as a string, add --text"

    assert [hint_of_text(RawInput(text)) for text in ("123", "true", "[1]")] == [hint] * 3
    assert [hint_of_text(RawInput(text)) for text in ('"123"', "007", "Ada")] == [""] * 3
    assert (hint_of_text("123"), hint_of_text(ABSENT)) == ("", "")


def test_only_what_was_given_is_an_option_of_the_enqueue() -> None:
    assert EnqueueFlags().to_options() == {}


def test_every_flag_becomes_an_option_of_the_enqueue() -> None:
    flags = EnqueueFlags(
        priority=0,
        timeout="90s",
        delay="1h",
        start_deadline="2026-01-31T08:00:00Z",
        deadline="2026-01-31T09:00:00Z",
        max_attempts=5,
        retry_delay="500ms",
        retry_strategy="linear",
        max_retry_delay="2m",
        max_worker_losses=1,
        request_id="r",
        dedup_key="k",
        dedup_policy="reject",
        context=["a=b=c", "d="],
        metadata=['e={"f": [1, null]}'],
    )

    assert flags.to_options() == {
        "priority": 0,
        "timeout": timedelta(seconds=90),
        "delay": timedelta(hours=1),
        "start_deadline": datetime(2026, 1, 31, 8, tzinfo=UTC),
        "deadline": datetime(2026, 1, 31, 9, tzinfo=UTC),
        "retry": Retry(max_attempts=5, strategy="linear", initial_delay=0.5, max_delay=120.0),
        "max_worker_losses": 1,
        "request_id": "r",
        "dedup_key": "k",
        "dedup_policy": "reject",
        "context": {"a": "b=c", "d": ""},
        "metadata": {"e": {"f": [1, None]}},
    }


def test_one_option_of_retries_switches_them_on() -> None:
    assert EnqueueFlags(retry_delay="2s").to_options() == {"retry": Retry(initial_delay=2.0)}


def test_delay_and_not_before_exclude_each_other() -> None:
    with pytest.raises(typer.BadParameter):
        EnqueueFlags(delay="1s", not_before="1s").to_options()


def test_columns_are_aligned_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["id", "note"], [["a", "one\ntwo"], ["long", ""]])

    assert capsys.readouterr().out == "ID    NOTE\na     one two\nlong\n"


def be_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Let stdout be a terminal of that width, without colours."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_table_has_colours_on_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    print_table(["id", "status", "note"], [["[bold]a", "failed", ""]])

    assert "[bold]a  \x1b[31mfailed\x1b[0m" in capsys.readouterr().out


def test_an_id_is_whole_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    be_terminal(monkeypatch, columns=60)

    print_table(["id", "status", "note"], [[ID, "queued", "n" * 80]])

    assert capsys.readouterr().out.splitlines()[1] == f"{ID}  queued  {'n' * 17}…"


def test_a_terminal_narrower_than_an_id_still_has_the_id_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    be_terminal(monkeypatch, columns=20)

    print_table(["id", "note"], [[ID, "n" * 80], ["宽宽", "m"]])

    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.rstrip() for row in rows] == [
        f"{ID}  {'n' * 11}…",
        # Each of these characters is two cells wide.
        f"宽宽{' ' * (len(ID) - 2)}m",
    ]


def test_the_lines_of_a_field_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields([("id", "a"), ("traceback", "one\n  two")])

    assert capsys.readouterr().out == "id         a\ntraceback  one\n             two\n"


def test_control_characters_are_shown_and_do_not_act() -> None:
    assert printable("a\x1b[31m\r\u202e\udcff\tb\n") == "a\\x1b[31m\\r\\u202e\\udcff\tb\n"


def test_trouble_is_one_line_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\n two\x07")

    assert capsys.readouterr().err == "backlane: one two\\x07\n"


@pytest.mark.parametrize(
    ("output", "text"),
    [("a\nb", "a\nb"), ({"é": 1.0}, '{"é":1.0}'), (None, "null"), ([], "[]"), (True, "true")],
)
def test_a_string_is_printed_bare_and_all_else_as_json(output: Json, text: str) -> None:
    assert output_text(output) == text


def test_a_row_says_what_matters_of_an_execution() -> None:
    error = {"category": "network_error", "message": "refused\nand more", "attempt": 2}

    cells = row(record("failed", attempt=2, error=error))

    assert [*cells[:3], cells[4]] == [
        *(ID, "failed", "greet"),
        "attempt 2, network_error: refused and more",
    ]


def test_a_row_that_did_not_fit_the_answer_shows_its_id() -> None:
    bare = BackgroundExecution.from_json(json.dumps({"executionId": ID}))

    assert row(bare) == [ID, "-", "-", "-", "see `backlane get`"]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"status": "queued"}, ""),
        ({"status": "running", "workerId": "w", "startedAt": "2026-01-31T08:00:00Z"}, "on w"),
        ({"status": "running", "cancelRequested": True}, "stop requested"),
        ({"status": "cancelled", "reason": "cancel_requested"}, "cancel requested"),
        (
            {
                "status": "completed",
                "startedAt": "2026-01-31T08:00:00Z",
                "completedAt": "2026-01-31T08:01:30Z",
            },
            "took 1m 30s",
        ),
        (
            {
                "status": "timeout",
                "error": {"category": "timeout", "code": "DEADLINE", "message": "too late"},
            },
            "timeout DEADLINE: too late",
        ),
        (
            {"status": "failed", "error": {"category": "tool_error", "message": "x" * 200}},
            f"tool_error: {'x' * 87}…",
        ),
    ],
    ids=lambda part: part["status"] if isinstance(part, dict) else "",
)
def test_a_note_fits_the_status(told: dict[str, Any], shown: str) -> None:
    assert note(record(**told)) == shown


def test_a_note_tells_when_a_queued_one_is_due() -> None:
    due = datetime.now(UTC) + timedelta(hours=1, seconds=30)

    assert note(record("queued", notBefore=due.isoformat())) == "due in 1h"


def test_a_traceback_reads_as_python_prints_it() -> None:
    details = {"type": "builtins.ValueError", "traceback": "Traceback:\n  File\n", "host": "h"}
    error = {
        "category": "tool_error",
        "code": "ValueError",
        "message": "ValueError: no",
        "details": details,
    }

    shown = dict(fields(record("failed", error=error)))

    assert (shown["error"], shown["traceback"], shown["details"]) == (
        "tool_error: ValueError: no",
        "Traceback:\n  File",
        '{"host":"h"}',
    )


class Flushed(io.StringIO):
    """A file that counts how often it is flushed."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


def test_records_are_listed_as_they_come_and_not_flushed_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = Flushed()
    monkeypatch.setattr("sys.stdout", out)
    lines_before: list[int] = []
    one = record("queued")

    def drawn() -> Iterator[BackgroundExecution]:
        for _ in range(3):
            lines_before.append(out.getvalue().count("\n"))
            yield one

    print_list(drawn(), full=False, as_json=True)

    assert lines_before == [0, 1, 2]
    assert out.getvalue() == f"{one.to_json()}\n" * 3
    assert out.flushes == 0
