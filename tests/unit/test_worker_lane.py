"""The leases of a lane: in slots, waiting for one, and given back."""

import itertools
from collections.abc import Iterable

from backlane.v1 import worker_service_pb2 as api
from backlane.v1.execution_pb2 import BackgroundExecution
from backlane.worker.book import Book
from backlane.worker.lane import AHEAD_S, AHEAD_SHARE_MAX, WAIT_MAX_S, Begun

SLOTS = 2


class Watched:
    """A book of lanes with two slots each, on a clock that stands still."""

    def __init__(self, lanes: int = 1) -> None:
        self.now = 100.0
        slots = itertools.repeat(SLOTS, lanes)
        self.book = Book(*slots, silence_s=60.0, clock=lambda: self.now)
        self.lane = self.book.lanes[0]
        self.messages = self.book.begin_stream(api.WorkHello())
        self.next(1 + lanes)

    def next(self, count: int = 1) -> list[api.WorkRequest]:
        return list(itertools.islice(self.messages, count))

    def credit(self) -> tuple[int, int]:
        """Return the slots and the places for waiting leases that the next message offers."""
        (message,) = self.next()
        assert message.WhichOneof("message") == "credit", message
        return message.credit.executions, message.credit.prefetch


def lease(name: str, *, prefetched: bool = False, lane: int = 0) -> api.Lease:
    execution = BackgroundExecution(execution_id=name)
    return api.Lease(execution=execution, lease_token=name, prefetched=prefetched, lane=lane)


def ref(name: str) -> api.LeaseRef:
    return api.LeaseRef(execution_id=name, lease_token=name)


def names(begun: Iterable[Begun]) -> list[str]:
    return [lease.lease_token for lease, _ in begun]


def full() -> Watched:
    """Return a lane whose callables are short, with both slots taken and two leases that wait."""
    watched = Watched()
    watched.lane.learn(0.0)
    watched.book.arrive([lease("a"), lease("b")], acknowledge=False)
    watched.credit()
    begun = watched.book.arrive([lease(name, prefetched=True) for name in "cd"])
    assert begun == []
    return watched


def test_nothing_waits_before_it_is_known_how_long_callables_run() -> None:
    watched = Watched()
    watched.book.arrive([lease("a"), lease("b")], acknowledge=False)
    watched.book.settle([ref("a")])

    release, credit = watched.next(2)

    assert release.WhichOneof("message") == "release"
    assert api.WorkCredit(executions=1) == credit.credit


def test_the_shorter_callables_are_the_more_leases_may_wait() -> None:
    ahead = []
    for mean_s in (0.0, AHEAD_S, 2 * AHEAD_S, 2.1 * SLOTS * AHEAD_S):
        watched = Watched()
        watched.lane.learn(mean_s)
        watched.book.arrive([lease("a"), lease("b")], acknowledge=False)
        watched.book.settle([ref("a")])
        watched.next()
        ahead.append(watched.credit())

    assert ahead == [(1, SLOTS * AHEAD_SHARE_MAX), (1, SLOTS), (1, 1), (1, 0)]


def test_a_lease_that_waits_begins_in_the_next_free_slot_and_is_acknowledged_then() -> None:
    watched = full()
    watched.now += 0.3

    [(begun, waited_s)] = watched.book.settle([ref("a")])

    assert begun == lease("c", prefetched=True)
    assert abs(waited_s - 0.3) < 1e-6
    said = [message for message in watched.next(2) if message.HasField("acknowledge")]
    assert [list(message.acknowledge.leases) for message in said] == [[ref("c")]]


def test_only_a_lease_that_began_is_acknowledged() -> None:
    watched = full()

    assert names(watched.book.vacate("a")) == ["c"]

    (message,) = watched.next()
    assert [ref("c")] == list(message.acknowledge.leases)


def test_a_lease_that_has_waited_too_long_is_given_back_and_no_more_are_taken_ahead() -> None:
    watched = full()
    watched.now += WAIT_MAX_S - 0.01
    watched.book.give_back_overdue(watched.lane)
    watched.now += 0.02

    watched.book.give_back_overdue(watched.lane)

    (message,) = watched.next()
    assert [ref("c"), ref("d")] == list(message.release.releases)
    assert names(watched.book.settle([ref("a")])) == []
    watched.next()
    assert watched.credit() == (1, 0)


def test_a_drain_gives_back_at_once_what_waits() -> None:
    watched = full()

    watched.book.drain()

    drain, release = watched.next(2)
    assert drain.HasField("drain")
    assert [ref("c"), ref("d")] == list(release.release.releases)


def test_a_lease_that_waits_and_is_cancelled_is_given_back() -> None:
    watched = full()

    watched.book.give_back(["a", "d", "unknown"])

    (message,) = watched.next()
    assert [ref("d")] == list(message.release.releases)
    assert names(watched.book.settle([ref("a"), ref("b")])) == ["c"]


def test_a_lease_that_waits_and_is_lost_does_not_begin() -> None:
    watched = full()

    assert watched.book.lose([ref("c")]) == {"c"}

    assert names(watched.book.settle([ref("a"), ref("b")])) == ["d"]


def test_leases_that_wait_go_on_waiting_over_a_reconnect() -> None:
    watched = full()

    hello = next(watched.book.begin_stream(api.WorkHello()))

    assert {held.lease_token for held in hello.hello.held} == set("abcd")
    assert watched.book.welcome(hello.hello.held) == set()
    assert names(watched.book.settle([ref("a")])) == ["c"]


def test_each_lane_has_its_own_slots_and_credit() -> None:
    watched = Watched(lanes=2)

    begun = watched.book.arrive([lease("a", lane=1), lease("b", lane=1)], acknowledge=False)

    assert names(begun) == ["a", "b"]
    watched.book.settle([ref("b")])
    _, credit = watched.next(2)
    assert api.WorkCredit(lane=1, executions=1) == credit.credit


def test_credit_never_allows_more_leases_than_a_hello_can_name() -> None:
    book = Book(5000, 5000, 5000, silence_s=60.0)
    messages = book.begin_stream(api.WorkHello())

    _, *given = itertools.islice(messages, 3)

    assert [message.credit.executions for message in given] == [5000, 5000]
    leases = [lease(f"e{number}") for number in range(5000)]
    book.arrive(leases, acknowledge=False)
    book.settle([ref("e0"), ref("e1")])
    assert next(messages).HasField("release")
    book.answer()
    assert api.WorkCredit(lane=2, executions=2) == next(messages).credit
