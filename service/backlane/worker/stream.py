"""Owns the `Work` stream of a worker: opens and reads it, and opens it again when it breaks.

The book has the messages to send. gRPC's own thread takes them from the book, including the
heartbeats, so that a busy callable delays none of them, as long as it lets other threads of Python
run: a call that holds the interpreter lock delays all. The runner runs the leases.
"""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING, Final, Protocol

import grpc

from backlane import errors
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.later import pause_after
from backlane.worker.report import refused
from backlane.worker.results import results_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from backlane.v1.worker_service_pb2_grpc import WorkerServiceStub
    from backlane.worker.book import Book
    from backlane.worker.results import Result

    Observer = Callable[[api.WorkRequest, api.WorkOutcomes], object]
    """Called with each message of results, and the server's answers in the same order."""

BACKOFF_FIRST_S: Final = 0.05
BACKOFF_LAST_S: Final = 1.0
_HOPELESS: Final = (
    errors.InvalidArgumentError,
    errors.UnauthenticatedError,
    errors.PermissionDeniedError,
    errors.UnimplementedError,
)
_UNFIT: Final = (
    errors.InvalidArgumentError,
    errors.OutOfRangeError,
    errors.MessageTooLargeError,
)
"""Refusals that would come again if the same result were sent again."""
_NO_SUSPENSION: Final = (*_UNFIT, errors.TransitionNotAllowedError)
"""The same for a suspension, after which the lease is still held."""

log = logging.getLogger("backlane.worker")


class Runner(Protocol):
    """Runs leases. Its methods are called by the thread that reads the stream."""

    def take_on(self, leases: Sequence[api.Lease]) -> None:
        """Run new leases; each ends with `Book.settle` or `Book.vacate`."""

    def cancel(self, tokens: Iterable[str]) -> None:
        """Ask executions to stop; results within the grace period still count."""

    def pause(self, tokens: Iterable[str]) -> None:
        """Ask executions to yield to a pause at their next step."""

    def lose(self, tokens: Iterable[str]) -> None:
        """Stop executions whose lease is lost."""


class WorkStream:
    """The stream of a worker, over all its reconnects."""

    def __init__(
        self,
        stub: WorkerServiceStub,
        hello: api.WorkHello,
        book: Book,
        runner: Runner,
        *,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        observe: Observer | None = None,
    ) -> None:
        """Make a stream; `run` opens it.

        Args:
            stub: the calls of the server.
            hello: the hello message; the leases held are added for each stream.
            book: has the messages to send.
            runner: runs the leases that arrive.
            metadata: headers of each stream.
            observe: called with the server's answers to results.
        """
        self._stub = stub
        self._metadata = tuple(metadata)
        self._hello = hello
        self._book = book
        self._runner = runner
        self._observe = observe
        self._is_welcome = False
        self._was_ever_welcome = False
        self._is_cut = False
        self._pause = threading.Event()
        self._cancel_call: Callable[[], object] = bool

    def run(self) -> None:
        """Work until the book is drained, or `cut` ends it.

        Raises:
            BacklaneError: the server refuses this worker, and would refuse it again.
        """
        backoff_s = BACKOFF_FIRST_S
        while not self._is_done():
            error = self._serve()
            backoff_s = BACKOFF_FIRST_S if self._is_welcome else min(backoff_s * 2, BACKOFF_LAST_S)
            if error is not None:
                self._consider(error)
            if not self._is_done():
                # Jitter, so that not all workers connect at once after a restart of the server.
                jittered_s = backoff_s * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
                self._pause.wait(max(jittered_s, (error and error.retry_after_s) or 0.0))

    def hurry(self) -> None:
        """End a wait for an absent server if the drain is finished."""
        if self._is_done():
            self._pause.set()
            if not self._is_welcome:
                self._cancel_call()

    def cut(self) -> None:
        """End the stream for good, even if there are messages left to send."""
        self._is_cut = True
        self._pause.set()
        self._cancel_call()

    def _is_done(self) -> bool:
        return self._is_cut or (self._book.is_draining and self._book.is_empty)

    def _serve(self) -> errors.BacklaneError | None:
        """Serve one stream to its end, and return what ended it."""
        self._is_welcome = False
        # Without `wait_for_ready` a stream to a restarting server fails at once, and between such
        # streams gRPC checks its sockets only every 5 s. By then the leases held would be lost.
        messages = self._book.begin_stream(self._copy_hello())
        call = self._stub.Work(messages, metadata=self._metadata, wait_for_ready=True)
        self._cancel_call = call.cancel
        if self._is_done():
            call.cancel()
        try:
            for response in call:
                self._receive(response)
        except grpc.RpcError as error:
            return errors.from_rpc_error(error)
        finally:
            self._book.give_up_stream()
        return None

    def _copy_hello(self) -> api.WorkHello:
        hello = type(self._hello)()
        hello.CopyFrom(self._hello)
        return hello

    def _consider(self, error: errors.BacklaneError) -> None:
        if self._is_cut or (self._is_done() and isinstance(error, errors.CallCancelledError)):
            return  # the stream was told to end
        if not self._was_ever_welcome and isinstance(error, _HOPELESS):
            raise error
        log.info("%s: stream ended: %s", self._hello.worker_id, error)
        if isinstance(error, _UNFIT):
            # The server refused a whole message.
            self._again((result, error) for result in self._book.doubt(error))

    def _receive(self, response: api.WorkResponse) -> None:
        match response.WhichOneof("message"):
            case "leases":
                self._runner.take_on(response.leases.leases)
            case "outcomes":
                self._note_outcomes(response.outcomes)
            case "welcome":
                self._note_welcome(response.welcome)
            case "cancels":
                self._runner.cancel([ref.lease_token for ref in response.cancels.leases])
            case "pauses":
                self._runner.pause([ref.lease_token for ref in response.pauses.leases])
            case "lost":
                self._runner.lose(self._book.lose(response.lost.leases))
            case "drain":
                log.info("%s: the server drains", self._hello.worker_id)
                self._book.server_drains()
            case _:
                log.debug("%s: ignored a message of an unknown kind", self._hello.worker_id)

    def _note_welcome(self, welcome: api.WorkWelcome) -> None:
        self._is_welcome = self._was_ever_welcome = True
        lanes = [self._hello.callables, *(lane.callables for lane in self._hello.lanes)]
        offered = ", ".join(sorted(name for names in lanes for name in names))
        log.info(
            "%s: connected, server %s, offering %s",
            *(self._hello.worker_id, welcome.server_version, offered),
        )
        self._runner.lose(self._book.welcome(welcome.held))

    def _note_outcomes(self, outcomes: api.WorkOutcomes) -> None:
        request = self._book.answer()
        if request.WhichOneof("message") == "steps":
            answers = [_refusal_of(outcome) for outcome in outcomes.outcomes]
            lost = self._book.answer_reports(request.steps.reports, answers)
            self._runner.lose(self._book.lose(lost))
            return
        pairs = list(zip(results_of(request), outcomes.outcomes, strict=False))
        refusals = [(result, outcome.status) for result, outcome in pairs if _is_refused(outcome)]
        self._again((result, errors.from_status(status)) for result, status in refusals)
        if self._observe is not None:
            self._observe(request, outcomes)

    def _again(self, refusals: Iterable[tuple[Result, errors.BacklaneError]]) -> None:
        for result, error in refusals:
            if error.is_retryable:
                self._book.settle_again([result], pause_after(error))
            elif (failure := _in_place_of(result, error)) is not None:
                self._book.settle_again([failure])


def _is_refused(outcome: api.LeaseOutcome) -> bool:
    return outcome.HasField("status")


def _refusal_of(outcome: api.LeaseOutcome) -> errors.BacklaneError | None:
    return errors.from_status(outcome.status) if _is_refused(outcome) else None


def _in_place_of(result: Result, error: errors.BacklaneError) -> Result | None:
    """Return what to report in place of a refused result, or None for a lost lease."""
    is_yield = isinstance(result, api.Suspension) and not result.waits
    if is_yield and isinstance(error, _NO_SUSPENSION):
        # It was resumed before it could yield to its pause. Its code has been unwound already.
        return api.LeaseRef(execution_id=result.execution_id, lease_token=result.lease_token)
    is_suspension = isinstance(result, api.Suspension)
    if not isinstance(error, _NO_SUSPENSION if is_suspension else _UNFIT):
        log.info("%s: its result was not accepted: %s", result.execution_id, error)
        return None
    # The result would be refused each time, and the lease would never end.
    log.warning("%s: its result was refused: %s", result.execution_id, error)
    if isinstance(result, api.Failure) and result.error.HasField("details"):
        # The server may accept fewer details. The rest of the failure, such as whether to retry,
        # is reported without them.
        bare = api.Failure()
        bare.CopyFrom(result)
        bare.error.ClearField("details")
        return bare
    what, code = "result", "RESULT_REFUSED"
    if is_suspension:
        what, code = "suspension", "STEP_REFUSED"
    elif isinstance(error, errors.TooLargeError):
        code = "OUTPUT_TOO_LARGE"
    failure = refused(code, f"the server refused the {what}: {error}")
    failure.execution_id, failure.lease_token = result.execution_id, result.lease_token
    return failure
