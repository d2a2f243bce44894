"""The protocol document is right: its examples are tested, and its list of errors is complete."""

import json
import re
from pathlib import Path

from backlane.errors import REASONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "proto" / "README.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "tests" / "conformance" / "examples.json"


def test_the_examples_are_those_that_the_conformance_suite_sends() -> None:
    shown = re.findall(r"(?m)^grpcurl -plaintext -d '(.*)' 127\.0\.0\.1:7433 (\S+)$", PAGE)
    sent = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    # A variable stands outside of the quotes around it, so that a shell fills it in.
    requests = [json.loads(re.sub(r"'(\$[A-Z]+)'", r"\1", request)) for request, _ in shown]

    assert sent == [
        {"call": call, "request": request}
        for request, (_, call) in zip(requests, shown, strict=True)
    ]


def test_a_shell_fills_in_the_variables_of_the_examples() -> None:
    lines = re.findall(r"(?m)^grpcurl .*$", PAGE)

    assert [line for line in lines if re.search(r"(?<!')\$[A-Z]+|\$[A-Z]+\b(?!')", line)] == []
    assert sum("'$EXECUTION'" in line for line in lines) > 0


def test_the_table_of_errors_has_every_reason_with_its_code() -> None:
    rows = re.findall(r"(?m)^\| `([A-Z_]+)` \| ([A-Z_]+) \|", PAGE)

    assert dict(rows) == {reason: known.code.name for reason, known in REASONS.items()}


def test_every_section_of_calls_says_that_load_may_refuse_them() -> None:
    sections = dict(re.findall(r"(?ms)^## (\d+)\. [^\n]*\n(.*?)(?=^## |\Z)", PAGE))

    assert [number for number in "456" if "`RATE_LIMITED`" not in sections[number]] == []


def test_the_page_says_which_message_of_a_stream_was_refused() -> None:
    words = " ".join(PAGE.split())

    assert "The refused message is the first one without outcomes" in words
    assert "a refused report is the first one that was not answered" in words


def test_workers_are_told_not_to_compare_instants_with_their_own_clock() -> None:
    words = " ".join(PAGE.split())

    assert "Never compare `attempt_deadline` or `lease_expires_at` with your own clock" in words
    assert "when `attempt_remaining_ms` have passed since the lease arrived" in words
