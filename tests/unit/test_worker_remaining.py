"""How long an attempt may run is what the server says, whatever the clocks of both show."""

from backlane.v1 import worker_service_pb2 as api
from backlane.worker.crew import _remaining_s

LEASE_S = 30.0


def lease() -> api.Lease:
    """A lease of a server whose clock is in 1970; its attempt may run for a minute."""
    made = api.Lease()
    made.lease_expires_at.FromMilliseconds(1_000_000 + round(LEASE_S * 1000))
    made.attempt_deadline.FromMilliseconds(1_060_000)
    return made


def test_an_attempt_may_run_for_its_remaining_time() -> None:
    made = lease()
    made.attempt_remaining_ms = 59_250

    assert _remaining_s(made, LEASE_S) == 59.25


def test_an_attempt_that_is_over_may_not_run() -> None:
    made = lease()
    made.attempt_remaining_ms = 0

    assert _remaining_s(made, LEASE_S) == 0.0


def test_a_server_that_does_not_say_it_is_understood_by_its_two_instants() -> None:
    assert _remaining_s(lease(), LEASE_S) == 60.0
