"""Settings: precedence, parsing, and reporting of all problems at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from backlane.config import LIMITS, Config, ConfigError, Limit, duration_text, load_config

if TYPE_CHECKING:
    from collections.abc import Mapping


def problems(flags: Mapping[str, object], environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_config(flags, environ or {})
    return raised.value.problems


def test_without_anything_the_defaults_apply() -> None:
    config = load_config({}, {})

    assert config == Config()
    assert (config.store, config.listen) == ("./backlane-data", "127.0.0.1:7433")
    assert (config.host, config.port) == ("127.0.0.1", 7433)


def test_a_flag_wins_over_a_variable_which_wins_over_the_default() -> None:
    environ = {"BACKLANE_MAX_STREAMS": "7", "BACKLANE_MAX_IN_FLIGHT": "8"}
    config = load_config({"max_streams": "9", "max_in_flight": None}, environ)

    assert (config.max_streams, config.max_in_flight) == (9, 8)
    assert config.log_level == "info"


def test_an_empty_variable_and_one_of_somebody_else_count_as_absent() -> None:
    environ = {"BACKLANE_LISTEN": "", "BACKLANE_PORT": "tcp://10.0.0.1:80", "BACKLANE_TARGET": "x"}

    assert load_config({}, environ) == Config()


def test_nothing_of_it_changes() -> None:
    with pytest.raises(ValidationError):
        Config().max_streams = 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("0s", timedelta(0)),
        ("10s", timedelta(seconds=10)),
        ("5m", timedelta(minutes=5)),
        (" 1h ", timedelta(hours=1)),
    ],
)
def test_durations_have_a_unit(text: str, expected: timedelta) -> None:
    assert load_config({"drain_grace": text}, {}).drain_grace == expected


@pytest.mark.parametrize("text", ["10", "s", "-1s", "1.5h", "1 week", "9999999999999d"])
def test_other_durations_are_refused(text: str) -> None:
    [problem] = problems({"retention": text})

    assert problem.startswith(f"--retention: '{text}' ")


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [("localhost:0", "localhost", 0), ("[::1]:7433", "::1", 7433), ("10.0.0.1:1", "10.0.0.1", 1)],
)
def test_addresses_are_taken_apart(listen: str, host: str, port: int) -> None:
    config = load_config({"listen": listen}, {})

    assert (config.host, config.port) == (host, port)


@pytest.mark.parametrize("listen", ["7433", ":7433", "host", "host:", "host:65536", "::1:7433"])
def test_other_addresses_are_refused(listen: str) -> None:
    [problem] = problems({}, {"BACKLANE_LISTEN": listen})

    assert problem.startswith(f"BACKLANE_LISTEN: '{listen}' ")


def test_memory_takes_the_place_of_the_data_directory() -> None:
    assert load_config({"memory": True}, {}).store is None
    assert load_config({}, {"BACKLANE_MEMORY": "1"}).store is None
    assert load_config({"memory": True}, {"BACKLANE_DATA": "d"}).store is None
    assert load_config({"data": "d"}, {"BACKLANE_MEMORY": "yes"}).store == "d"


def test_memory_and_data_from_the_same_place_exclude_each_other() -> None:
    assert problems({"memory": True, "data": "d"}) == [
        "--memory and --data exclude each other: remove one of them"
    ]
    assert problems({}, {"BACKLANE_MEMORY": "1", "BACKLANE_DATA": "d"}) == [
        "BACKLANE_MEMORY and BACKLANE_DATA exclude each other: remove one of them"
    ]


def test_limits_are_merged_by_name() -> None:
    environ = {"BACKLANE_LIMITS": "max_page=5, max_lease_items=6"}
    config = load_config({"limits": ["max_page=7"]}, environ)

    assert config.limits == {"max_page": 7, "max_lease_items": 6}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_the_default_of_a_limit_is_one_it_may_have(limit: Limit) -> None:
    assert 1 <= limit.default <= limit.most


def test_limits_whose_records_would_not_fit_an_answer_are_refused() -> None:
    [problem] = problems({"limits": ["max_input_bytes=2000000", "max_output_bytes=2000000"]})

    assert problem.startswith("--limit: max_input_bytes, max_output_bytes, ")
    assert " add up to 4204800 bytes, but a record has to fit into one reply" in problem


def test_all_problems_are_reported_at_once_and_each_names_its_place() -> None:
    flags = {
        "listen": "nowhere",
        "limits": ["max_page=0", "max_pages=1", "max_lease_items"],
        "retention": "soon",
        "max_streams": "0",
        "log_level": "loud",
    }
    found = problems(flags, {"BACKLANE_MAX_IN_FLIGHT": "many", "BACKLANE_LISTEN": "x:1"})

    assert sorted(line.partition(":")[0] for line in found) == [
        "--limit max_lease_items",
        "--listen",
        "--log-level",
        "--max-streams",
        "--retention",
        "BACKLANE_MAX_IN_FLIGHT",
    ]
    assert all("\n" not in line for line in found)


def test_every_wrong_limit_is_named() -> None:
    [problem] = problems({"limits": ["max_page=0", "max_pages=1"]})

    assert "max_page must be from 1 to 10000, not 0" in problem
    assert "max_pages is not a limit; the limits are max_input_bytes, " in problem


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"retention": "0s"}, "--retention: '0s' must be at least 1s"),
        ({"drain_grace": "2h"}, "--drain-grace: '2h' must be at most 1h"),
        ({"test_clock": "18251d"}, "--test-clock: '18251d' must be at most 18250d"),
        ({"max_streams": "0"}, "--max-streams: '0' must be at least 1"),
        ({"max_in_flight": "1000001"}, "--max-in-flight: '1000001' must be at most 1000000"),
        ({"max_streams": "x"}, "--max-streams: 'x' is not a whole number"),
        ({"limits": ["max_page=x"]}, "--limit max_page: 'x' is not a whole number"),
        ({"data": ""}, "--data: '' must not be empty"),
        ({"data": "\udcff"}, "--data: '\\udcff' is not UTF-8"),
        (
            {"log_level": "loud"},
            "--log-level: 'loud' must be 'debug', 'info', 'warning' or 'error'",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_problem_shows_the_value_as_it_was_given(flags: Mapping[str, object], line: str) -> None:
    assert problems(flags) == [line]


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(milliseconds=1500), "1500ms"),
        (timedelta(seconds=90), "90s"),
        (timedelta(hours=48), "2d"),
    ],
)
def test_a_duration_is_written_as_it_is_read(length: timedelta, text: str) -> None:
    assert duration_text(length) == text
    assert load_config({"test_clock": text}, {}).test_clock == length


def test_every_setting_is_described() -> None:
    assert [name for name, field in Config.model_fields.items() if not field.description] == []
