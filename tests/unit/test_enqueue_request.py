"""The request of an enqueue: what the server counts is not counted by the client."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backlane.client.enqueue_request import enqueue_request
from backlane.errors import InvalidInputError
from backlane.schema.options import ABSENT


@pytest.mark.parametrize(
    ("delay", "milliseconds"),
    [(0, 0), (60, 60_000), (1.0005, 1001), (timedelta(microseconds=1), 1)],
)
def test_a_delay_is_counted_by_the_server_and_rounded_up(
    delay: float | timedelta, milliseconds: int
) -> None:
    request = enqueue_request("acme", "mail", ABSENT, {"delay": delay})

    assert (request.HasField("delay_ms"), request.delay_ms) == (True, milliseconds)
    assert not request.HasField("not_before")


def test_a_delay_that_is_no_length_of_time_is_refused() -> None:
    for delay in (-1, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="delay cannot be"):
            enqueue_request("acme", "mail", ABSENT, {"delay": delay})
