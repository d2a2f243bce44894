"""Every format of the data directory that a release has written: this version opens each of them.

A kept directory is never written: each test works on a copy.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backlane.schema import json as schema_json
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as producer
from tests.formats import directory as kept
from tests.unit.core_calls import call, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane._core import Core

FORMATS = sorted(path.name for path in kept.HERE.glob("format-*"))


@pytest.fixture(params=FORMATS)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one kept directory."""
    return Path(shutil.copytree(kept.HERE / request.param, tmp_path / "data"))


@pytest.fixture
def core(data: Path) -> Iterator[Core]:
    """A core that has opened the copy, with its clock at the instant when it was made."""
    with running(data=data, clock_ms=kept.MADE_AT_MS) as opened:
        yield opened


def records_of(data: Path) -> list[dict[str, Any]]:
    """The records as the version showed them that wrote the directory."""
    return [json.loads(line) for line in (data / "records.jsonl").read_text().splitlines()]


def shown_again(data: Path, core: Core) -> list[dict[str, Any]]:
    """The records as they are shown now, without the fields that are newer than the directory."""
    now = [json.loads(schema_json.dumps(record)) for record in kept.shown(core)]
    pairs = zip(now, records_of(data), strict=True)
    return [{key: record.get(key) for key in before} for record, before in pairs]


def test_there_is_a_directory_of_each_older_format() -> None:
    assert {"format-2", "format-3"} <= set(FORMATS)


def test_every_record_of_an_older_format_reads_as_it_did(data: Path, core: Core) -> None:
    assert shown_again(data, core) == records_of(data)


def test_every_record_still_reads_so_after_another_start(data: Path) -> None:
    with running(data=data, clock_ms=kept.MADE_AT_MS):
        pass
    with running(data=data, clock_ms=kept.MADE_AT_MS) as again:
        assert shown_again(data, again) == records_of(data)


def test_a_request_that_an_older_format_has_accepted_is_not_accepted_again(core: Core) -> None:
    reply = producer.EnqueueResponse.FromString(call(core, "Enqueue", kept.REPEATED))

    assert reply.existing
    assert reply.execution.input == kept.REPEATED.input


def test_what_failed_in_an_older_format_is_a_dead_letter(core: Core) -> None:
    asked = producer.ListDeadLettersRequest(tenant_id="acme", view=records.VIEW_FULL)
    [dead] = producer.ListDeadLettersResponse.FromString(
        call(core, "ListDeadLetters", asked)
    ).executions
    assert (dead.callable_name, dead.input) == ("failed", "input of failed")

    redrive = producer.RedriveRequest(tenant_id="acme", execution_id=dead.execution_id)
    made = producer.RedriveResponse.FromString(call(core, "Redrive", redrive)).execution
    assert (made.retried_from, made.input) == (dead.execution_id, dead.input)
    discard = producer.DiscardDeadLettersRequest(
        tenant_id="acme", execution_ids=[dead.execution_id]
    )
    call(core, "DiscardDeadLetters", discard)
    left = producer.ListDeadLettersResponse.FromString(call(core, "ListDeadLetters", asked))
    assert list(left.executions) == []


def test_work_goes_on_in_a_directory_of_an_older_format(core: Core) -> None:
    kept.complete(core, "queued")

    [done] = [record for record in kept.shown(core) if record.callable_name == "queued"]
    assert done.status == records.BACKGROUND_EXECUTION_STATUS_COMPLETED
    assert done.output.string_value == "x" * 5_000
    asked = producer.ListAttemptsRequest(tenant_id="acme", execution_id=done.execution_id)
    [attempt] = producer.ListAttemptsResponse.FromString(call(core, "ListAttempts", asked)).attempts
    assert attempt.outcome == records.ATTEMPT_OUTCOME_COMPLETED
