"""A test clock: the server's answers to commands, and the clock in the test."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from backlane._core import Core, CoreError
from backlane.server.clock import ClockDesk, _lines
from backlane.testing import Clock, ClockError

if TYPE_CHECKING:
    from collections.abc import Iterator

FIFTY_YEARS_MS = 50 * 365 * 86_400_000


@pytest.fixture
def desk() -> Iterator[ClockDesk]:
    core = Core(data=None, clock_ahead_ms=0)
    yield ClockDesk(core.advance, 0)
    core.stop()


@pytest.mark.parametrize("ms", ["0", "1", "3600000", "0005"])
def test_a_move_is_acknowledged_as_it_was_asked_for(desk: ClockDesk, ms: str) -> None:
    assert desk.answer(f"advance {ms}") == f"clock advanced {ms}"


@pytest.mark.parametrize(
    "line", ["", "advance", "advance x", "advance -1", "advance 1.5", "advance ٣", "stop"]
)
def test_what_is_no_command_is_refused_and_named(desk: ClockDesk, line: str) -> None:
    assert desk.answer(line) == f"clock refused: {line!r} is not `advance MILLISECONDS`"


def test_a_long_line_is_not_repeated_whole(desk: ClockDesk) -> None:
    assert desk.answer("x" * 10_000) == (
        f"clock refused: '{'x' * 60}…' is not `advance MILLISECONDS`"
    )


def test_a_clock_goes_fifty_years_ahead_and_no_further(desk: ClockDesk) -> None:
    refused = (
        "clock refused: a clock goes at most 50 years ahead, "
        f"and this one is {FIFTY_YEARS_MS} ms ahead already"
    )

    assert desk.answer(f"advance {FIFTY_YEARS_MS}") == f"clock advanced {FIFTY_YEARS_MS}"
    assert desk.answer("advance 1") == refused
    assert desk.answer(f"advance {'9' * 18}") == refused


def test_a_core_on_the_machines_clock_is_not_moved() -> None:
    core = Core(data=None)
    with pytest.raises(CoreError, match="runs on the machine's clock"):
        core.advance(1)
    core.stop()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"advance 1\nadvance 2\n"], ["advance 1", "advance 2"]),
        ([b"adva", b"nce 1\r\n"], ["advance 1"]),
        ([b"advance 1"], ["advance 1"]),
        ([b"\xff\n"], ["�"]),
        ([b"x" * 1001], ["x" * 1001]),
    ],
)
def test_commands_are_lines_however_they_arrive(pieces: list[bytes], expected: list[str]) -> None:
    reading, writing = os.pipe()
    for piece in pieces:
        os.write(writing, piece)
    os.close(writing)
    try:
        assert list(_lines(reading)) == expected
    finally:
        os.close(reading)


def test_each_move_is_asked_for_in_whole_milliseconds() -> None:
    asked: list[str] = []

    def ask(command: str) -> str:
        asked.append(command)
        return command.replace("advance", "clock advanced")

    clock = Clock(ask)
    for span in (0, 1.5, timedelta(hours=1), 0.0004, 0.0006):
        clock.advance(span)

    expected = ["advance 0", "advance 1500", "advance 3600000", "advance 0", "advance 1"]
    assert asked == expected
    assert clock.ahead == timedelta(seconds=3601, milliseconds=501)


def test_a_clock_tells_the_time_of_its_server() -> None:
    clock = Clock(lambda command: command.replace("advance", "clock advanced"))
    clock.advance(timedelta(days=1))
    before = datetime.now(UTC)

    assert before <= clock.now() - timedelta(days=1) <= datetime.now(UTC)


@pytest.mark.parametrize("answer", ["clock refused: no", ""])
def test_a_refused_move_moves_nothing(answer: str) -> None:
    clock = Clock(lambda _: answer)
    with pytest.raises(ClockError, match=answer or "the server has ended"):
        clock.advance(1)

    assert clock.ahead == timedelta(0)


def test_a_clock_does_not_go_back() -> None:
    clock = Clock(lambda _: "")
    with pytest.raises(ValueError, match="moves forward only"):
        clock.advance(-1)
