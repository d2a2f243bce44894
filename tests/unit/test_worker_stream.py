"""A worker whose stream ends because of one of its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import grpc

from backlane.v1 import execution_pb2 as records
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.book import Book
from backlane.worker.stream import WorkStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub


class Refusal(grpc.RpcError):
    """The end of a stream that gRPC itself refused for a message's size."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.RESOURCE_EXHAUSTED

    def details(self) -> str:
        return "Received message larger than max (26214400 vs. 20971520)"

    def trailing_metadata(self) -> tuple[()]:
        return ()


class Call:
    """Answers what a server would, on the thread that reads."""

    def __init__(self, answers: Iterator[api.WorkResponse]) -> None:
        self._answers = answers

    def __iter__(self) -> Iterator[api.WorkResponse]:
        return self._answers

    def cancel(self) -> None:
        """End nothing: it ends by itself."""


class Stub:
    """A server that refuses the size of a message, and takes what is said in its place."""

    def __init__(self) -> None:
        self.said: list[api.WorkRequest] = []

    def Work(self, messages: Iterator[api.WorkRequest], **_: Any) -> Call:  # noqa: ANN401, N802
        return Call(self._answers(messages))

    def _answers(self, messages: Iterator[api.WorkRequest]) -> Iterator[api.WorkResponse]:
        held = next(messages).hello.held
        yield api.WorkResponse(welcome=api.WorkWelcome(held=held))
        for message in messages:
            if message.WhichOneof("message") not in {"complete", "fail"}:
                continue
            self.said.append(message)
            if message.WhichOneof("message") == "complete":
                raise Refusal
            outcome = api.LeaseOutcome(result=api.LeaseResult())
            yield api.WorkResponse(outcomes=api.WorkOutcomes(outcomes=[outcome]))


class Runner:
    """Runs nothing, and may lose nothing."""

    def take_on(self, leases: Sequence[api.Lease]) -> None:
        raise NotImplementedError

    def cancel(self, tokens: Iterable[str]) -> None:
        raise NotImplementedError

    def pause(self, tokens: Iterable[str]) -> None:
        raise NotImplementedError

    def lose(self, tokens: Iterable[str]) -> None:
        assert list(tokens) == []


def test_a_result_that_is_too_large_for_the_transport_fails_instead_of_being_said_for_ever() -> (
    None
):
    book, stub = Book(1, silence_s=60.0), Stub()
    lease = api.Lease(
        execution=records.BackgroundExecution(execution_id="exec_a"),
        lease_token="t",  # noqa: S106  # not that kind of token
    )
    book.arrive([lease])
    book.settle([api.CompleteResult(execution_id="exec_a", lease_token="t")])  # noqa: S106
    book.drain()

    WorkStream(cast("WorkerServiceStub", stub), api.WorkHello(), book, Runner()).run()

    complete, fail = stub.said
    assert complete.complete.results[0].execution_id == "exec_a"
    assert fail.fail.failures[0].error.code == "RESULT_REFUSED"
    assert "larger than max" in fail.fail.failures[0].error.message
