"""Owns one run of the program for one rule: its environment, its server, and its streams."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from backlane.testing.conformance.breach import (
    BrokenRuleError,
    NeverConnectedError,
    NotApplicableError,
    UnfitError,
    demand,
)
from backlane.testing.conformance.leases import (
    ECHO,
    HOLD,
    STEPS,
    make_lease,
    not_offered,
    refs,
)
from backlane.testing.conformance.program import Program
from backlane.testing.conformance.server import HOST, PlayedServer
from backlane.testing.conformance.steps import version
from backlane.testing.conformance.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backlane.testing.conformance.session import Session
    from backlane.v1 import execution_pb2 as records
    from backlane.v1 import worker_service_pb2 as api

TENANT: Final = "conformance"
WORKER_NAME: Final = "worker-under-test"
START_S: Final = 20.0
"""The least time that a program gets to start and connect, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a run, which the program gets in its environment.

    Attributes:
        concurrency: BACKLANE_CONCURRENCY.
        lease_ms: BACKLANE_LEASE_MS.
        drain_ms: BACKLANE_DRAIN_MS.
    """

    concurrency: int = 2
    lease_ms: int = 3000
    drain_ms: int = 5000


class Stage:
    """A played server, and a program that connects to it.

    Attributes:
        settings: the settings of the run.
        server: the played server.
        transcript: the messages of the run.
        patience_s: how long to wait for any one event, in seconds.
    """

    def __init__(
        self,
        command: Sequence[str],
        settings: Settings,
        patience_s: float,
        needs: str | None = None,
    ) -> None:
        """Make a stage. The context manager starts the server, and `start` the program.

        Args:
            command: the program and its arguments.
            settings: the settings of the run.
            patience_s: how long to wait for any one event, in seconds.
            needs: a callable that the program need not offer, but that the run is about.
        """
        self.settings = settings
        self.transcript = Transcript()
        self.patience_s = patience_s
        self.server = PlayedServer(self.transcript, patience_s)
        self._command = command
        self._needs = needs
        self._program: Program | None = None
        self._has_connected = False
        self._is_given_up = False

    def __enter__(self) -> Self:
        """Start the server."""
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the program and stop the server."""
        if self._program is not None:
            self._program.close()
        self.server.stop()

    def start(self) -> None:
        """Start the program.

        Raises:
            CannotStartError: the command cannot be run.
        """
        environment = {
            "BACKLANE_TARGET": f"{HOST}:{self.server.port}",
            "BACKLANE_TENANT": TENANT,
            "BACKLANE_WORKER_NAME": WORKER_NAME,
            "BACKLANE_CONCURRENCY": str(self.settings.concurrency),
            "BACKLANE_LEASE_MS": str(self.settings.lease_ms),
            "BACKLANE_DRAIN_MS": str(self.settings.drain_ms),
        }
        self._program = Program(self._command, environment, self.server.wake)
        if self._is_given_up:
            self._program.close()

    def give_up(self) -> None:
        """Kill the program, so that its check ends soon. May be called from any thread."""
        self._is_given_up = True
        if self._program is not None:
            self._program.close()

    def accept(self, within_s: float | None = None) -> Session:
        """Wait for the program's next stream and its hello, without answering the hello.

        Raises:
            NotApplicableError: the program does not offer what the run is about.
        """
        if self._program is None:
            self.start()
        within_s = self.patience_s if within_s is None else within_s
        if not self._has_connected:
            within_s = max(within_s, START_S)
        session = self.server.next_session(within_s, self.has_ended)
        if session is None:
            raise self._no_stream(within_s)
        is_first, self._has_connected = not self._has_connected, True
        hello = session.hello()
        if is_first:
            _demand_offer(hello.callables)
            if self._needs and not_offered(hello.callables, [self._needs]):
                raise NotApplicableError(f"the program does not offer {self._needs}")
        return session

    def connect(
        self, held: Sequence[api.Lease] | None = None, within_s: float | None = None
    ) -> Session:
        """Wait for the next stream and welcome it.

        Args:
            held: the leases that the worker keeps; by default all that its hello names.
            within_s: how long to wait for the stream, in seconds.
        """
        session = self.accept(within_s)
        hello = session.hello()
        kept = hello.held if held is None else refs(held)
        session.welcome(kept, hello.lease_duration_ms)
        return session

    def echo(self, session: Session, document: str = '"still there"') -> None:
        """Run an echo. Messages that the worker sent before its result have then arrived."""
        lease = self.make(ECHO, document)
        session.lease(lease)
        report = session.report(lease, otherwise="an echo was leased and nothing came back")
        demand(report.kind == "complete", f"an echo was answered with {report.kind}")

    def spoken_of(self, lease: api.Lease) -> None:
        """Wait until a lease is given back by a `Release` call, or reported on another stream."""
        token = lease.lease_token
        session = self.server.next_session(
            self.patience_s,
            lambda: token in self.server.released or self.has_ended(),
        )
        if session is not None:
            held = session.hello().held
            session.welcome(held, self.settings.lease_ms)
            session.report(lease)
        elif token not in self.server.released:
            raise BrokenRuleError("a lease crossed the half-close, and nothing was said of it")

    def hold(self, session: Session, *, length_ms: int | None = None) -> api.Lease:
        """Lease a hold, for ever or for that long, and wait until it is acknowledged."""
        document = None if length_ms is None else json.dumps({"ms": length_ms})
        lease = self.make(HOLD, document)
        session.lease(lease)
        session.acknowledged(lease)
        return lease

    def drains(self, session: Session, *, length_ms: int | None = None) -> api.Lease:
        """Lease a hold, wait until it runs, and send SIGTERM."""
        lease = self.hold(session, length_ms=length_ms)
        self.begins(session)
        self.terminate()
        return lease

    def begins(self, session: Session) -> None:
        """Wait until the earlier leases run, by running an echo, which needs a free slot.

        A drain may give back executions that have not begun.
        """
        self.echo(session, '"begun"')

    def make(
        self,
        callable_name: str,
        document: str | None = None,
        *,
        token: str | None = None,
        attempt: int = 1,
        execution_id: str | None = None,
    ) -> api.Lease:
        """Make a lease for the tenant; the parameters are those of `make_lease`."""
        return make_lease(
            *(callable_name, document),
            tenant_id=TENANT,
            token=token,
            attempt=attempt,
            execution_id=execution_id,
            lease_s=self.settings.lease_ms / 1000,
        )

    def make_steps(
        self,
        document: str,
        earlier: api.Lease | None = None,
        recorded: Sequence[records.Step] = (),
    ) -> api.Lease:
        """Make a lease of an execution with steps.

        Args:
            document: the input.
            earlier: the lease of the earlier attempt; None for a new execution.
            recorded: the steps that earlier attempts recorded.
        """
        if earlier is None:
            return self.make(STEPS, document)
        execution_id, attempt = earlier.execution.execution_id, earlier.attempt + 1
        lease = self.make(STEPS, document, execution_id=execution_id, attempt=attempt)
        lease.steps.extend(recorded)
        return lease

    def steps(
        self,
        session: Session,
        document: str,
        earlier: api.Lease | None = None,
        recorded: Sequence[records.Step] = (),
    ) -> api.Lease:
        """Lease an execution with steps; the parameters are those of `make_steps`."""
        lease = self.make_steps(document, earlier, recorded)
        if earlier is not None and recorded:
            lease.schema_version = version(session.ledger, earlier.lease_token)
        session.lease(lease)
        return lease

    def terminate(self) -> None:
        """Send SIGTERM to the program."""
        self.transcript.note("SIGTERM")
        assert self._program is not None  # noqa: S101  # it has opened a stream
        self._program.drain()

    def exits(self, within_s: float) -> None:
        """Wait for the program's end, whose exit status has to be 0."""
        assert self._program is not None  # noqa: S101  # as above
        status = self._program.wait(within_s)
        demand(status is not None, f"the program still runs {within_s:g} s after its drain")
        demand(status == 0, f"the program's exit status after its drain is {status}, not 0")

    @property
    def exit_status(self) -> int | None:
        """The program's exit status, None while it runs."""
        return None if self._program is None else self._program.status

    def has_ended(self) -> bool:
        """Tell whether the program was started and has ended."""
        return self.exit_status is not None

    def stderr(self) -> list[str]:
        """Return the last lines of the program's stderr."""
        return [] if self._program is None else self._program.stderr()

    def _no_stream(self, within_s: float) -> BrokenRuleError:
        kind = BrokenRuleError if self._has_connected else NeverConnectedError
        what = "another stream" if self._has_connected else "a Work stream to BACKLANE_TARGET"
        if self.exit_status is not None:
            return kind(f"the program ended with {self.exit_status} and did not open {what}")
        return kind(f"the program did not open {what} within {within_s:g} s")


def _demand_offer(patterns: Sequence[str]) -> None:
    missing = not_offered(patterns)
    if missing:
        offer = ", ".join(patterns) or "nothing"
        raise UnfitError(f"the program does not offer {', '.join(missing)}; it offers {offer}")


def now() -> float:
    """Return the time of the monotonic clock, in seconds, as in `Report.at`."""
    return time.monotonic()
