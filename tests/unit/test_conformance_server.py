"""The played server of the conformance kit, with a worker that the test controls."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Final

import grpc
import pytest

from backlane.testing.conformance.breach import BrokenRuleError
from backlane.testing.conformance.leases import ECHO, make_lease, refs
from backlane.testing.conformance.refusals import broken_connection, refusal
from backlane.testing.conformance.server import HOST, THREADS, PlayedServer
from backlane.testing.conformance.transcript import Transcript
from backlane.v1 import worker_service_pb2 as api
from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.conformance.refusals import assert_refusal, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from google.rpc import status_pb2

    from backlane.testing.conformance.session import Session

PATIENCE_S: Final = 5.0
HELLO: Final = api.WorkRequest(hello=api.WorkHello(worker_id="w"))


def credit(executions: int) -> api.WorkRequest:
    return api.WorkRequest(credit=api.WorkCredit(executions=executions))


def completion(lease: api.Lease) -> api.WorkRequest:
    [ref] = refs([lease])
    result = api.CompleteResult(execution_id=ref.execution_id, lease_token=ref.lease_token)
    return api.WorkRequest(complete=api.CompleteRequest(results=[result]))


class Talker:
    """A worker by hand, on one stream."""

    def __init__(self, server: PlayedServer) -> None:
        """Connect and say hello."""
        self._up: queue.SimpleQueue[api.WorkRequest | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(f"{HOST}:{server.port}")
        self.down = WorkerServiceStub(self._channel).Work(iter(self._up.get, None))
        self.say(HELLO)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Break the stream."""
        self.say(None)
        self._channel.close()

    def say(self, message: api.WorkRequest | None) -> None:
        """Send a message; None half-closes."""
        self._up.put(message)


@pytest.fixture
def server() -> Iterator[PlayedServer]:
    """A server that nothing is connected to."""
    played = PlayedServer(Transcript(), PATIENCE_S)
    played.start()
    yield played
    played.stop()


@pytest.fixture
def talker(server: PlayedServer) -> Iterator[Talker]:
    """A worker that has said hello."""
    with Talker(server) as connected:
        yield connected


def first_session(server: PlayedServer) -> Session:
    session = server.next_session(PATIENCE_S, lambda: False)
    assert session is not None
    return session


def kinds_of(outcomes: api.WorkResponse) -> list[str | None]:
    return [outcome.WhichOneof("outcome") for outcome in outcomes.outcomes.outcomes]


def test_a_session_welcomes_leases_and_answers(server: PlayedServer, talker: Talker) -> None:
    session = first_session(server)
    assert session.hello().worker_id == "w"
    session.welcome([], 3000)
    assert next(talker.down).welcome.lease_duration_ms == 3000

    lease = make_lease(ECHO, "1")
    talker.say(credit(1))
    session.lease(lease)
    assert next(talker.down).leases.leases[0] == lease
    talker.say(completion(lease))
    assert session.report(lease).kind == "complete"
    assert kinds_of(next(talker.down)) == ["result"]

    talker.say(None)
    session.half_closed()
    assert list(talker.down) == []


def test_a_session_refuses_as_often_as_it_was_told(server: PlayedServer, talker: Talker) -> None:
    session = first_session(server)
    lease = make_lease(ECHO)
    session.refuse(lease, refusal("TOO_LARGE"), refusal("RATE_LIMITED", 0.5))
    answers = []
    for _ in range(3):
        talker.say(completion(lease))
        answers.append(next(talker.down))

    assert [kinds_of(answer) for answer in answers] == [["status"], ["status"], ["result"]]


def test_a_session_answers_a_lost_lease_as_a_server_does(
    server: PlayedServer, talker: Talker
) -> None:
    session = first_session(server)
    lease = make_lease(ECHO)
    session.push(lease)
    session.lose(lease)
    talker.say(completion(lease))
    kinds = [message.WhichOneof("message") for message in (next(talker.down), next(talker.down))]

    assert kinds == ["leases", "lost"]
    [outcome] = next(talker.down).outcomes.outcomes
    assert_refusal(outcome.status, "LEASE_LOST")


def test_withheld_answers_come_in_order_and_hold_the_end_back(
    server: PlayedServer, talker: Talker
) -> None:
    session = first_session(server)
    first, second = make_lease(ECHO), make_lease(ECHO)
    session.refuse(second, refusal("LEASE_LOST"))
    session.withhold()
    talker.say(completion(first))
    talker.say(completion(second))
    talker.say(None)
    session.half_closed()
    session.answer_withheld()

    assert [kinds_of(answer) for answer in talker.down] == [["result"], ["status"]]


def test_what_does_not_come_is_told_with_the_time_it_had(
    server: PlayedServer, talker: Talker
) -> None:
    session = first_session(server)

    with pytest.raises(BrokenRuleError, match=r"^credit did not come, within 0\.01 s$"):
        session.wait(lambda ledger: ledger.credit, "credit did not come", 0.01)

    talker.say(None)
    with pytest.raises(BrokenRuleError, match=r"^no credit: the worker's stream was half-closed$"):
        session.wait(lambda ledger: ledger.credit, "no credit")


def test_a_stream_that_breaks_is_no_half_close(server: PlayedServer, talker: Talker) -> None:
    session = first_session(server)
    session.hello()
    talker.down.cancel()

    with pytest.raises(BrokenRuleError, match=r"the stream broke$"):
        session.half_closed()


def test_a_stopped_server_leaves_no_thread_behind(server: PlayedServer, talker: Talker) -> None:
    session = first_session(server)
    # Its end is held back by an answer that never comes.
    session.withhold()
    talker.say(completion(make_lease(ECHO)))
    talker.say(None)
    session.half_closed()
    threads = [each for each in threading.enumerate() if each.name.startswith(THREADS)]
    server.stop()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert [thread.is_alive() for thread in threads] == [False] * len(threads)
    assert threads


@pytest.mark.parametrize("status", [refusal("RATE_LIMITED", 1.5), refusal("INTERNAL")])
def test_a_stream_ends_with_the_status_it_is_given(
    server: PlayedServer, talker: Talker, status: status_pb2.Status
) -> None:
    first_session(server).end(status)

    assert refused(lambda: next(talker.down)) == status


def test_a_refused_stream_is_counted_and_makes_no_session(server: PlayedServer) -> None:
    server.refuse(broken_connection())
    with Talker(server) as talker:
        assert refused(lambda: next(talker.down)).message == broken_connection().message

    assert server.wait_refused(1, PATIENCE_S, bool)
    assert server.next_session(0, lambda: False) is None


def test_a_server_comes_back_at_its_port(server: PlayedServer) -> None:
    port = server.port
    server.stop()
    server.start()
    with Talker(server):
        first_session(server).hello()

    assert server.port == port


def test_the_first_message_must_be_hello(server: PlayedServer) -> None:
    with grpc.insecure_channel(f"{HOST}:{server.port}") as channel:
        call = WorkerServiceStub(channel).Work(iter([credit(1)]))
        with pytest.raises(BrokenRuleError, match="the first message is credit, and should be"):
            first_session(server).hello()
        call.cancel()


@pytest.mark.parametrize(
    ("reason", "field"),
    [
        ("EXECUTION_NOT_FOUND", ""),
        ("INVALID_ARGUMENT", "results[0].output"),
        ("LEASE_LOST", ""),
        ("RATE_LIMITED", ""),
        ("TOO_LARGE", "results[0].output"),
    ],
)
def test_refusals_look_as_a_real_servers_do(reason: str, field: str) -> None:
    assert_refusal(refusal(reason), reason, field)
