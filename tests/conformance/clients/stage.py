"""A server with worker and producer programs, for one test."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1.execution_service_pb2_grpc import ExecutionServiceStub
from tests.conformance.door import new_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from backlane.testing import ServerProcess
    from tests.conformance.clients.programs import Command

PATIENCE_S: Final = 30
LEASE_MS: Final = 3000
CHANNEL_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class Stage:
    """Starts programs, watches what they hold, and ends those that are left.

    Attributes:
        server: the server they are about.
        tenant: whose executions they are about.
        made: what was enqueued here, by id.
    """

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        """Open a channel to the server; the programs' logs go to the folder."""
        self.server = server
        self.tenant = new_tenant()
        self.made: list[str] = []
        self._folder = folder
        self._channel = grpc.insecure_channel(server.target, options=CHANNEL_OPTIONS)
        self._calls = ExecutionServiceStub(self._channel)
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        """Kill what still runs, and show the logs of a test that failed."""
        for process in self._started:
            process.kill()
            process.wait()
        self._channel.close()
        if error is not None:
            for log in sorted(self._folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(encoding='utf-8')}")

    def work(self, command: Command, name: str, **settings: int) -> subprocess.Popen[bytes]:
        """Start a worker of that name and wait until it works.

        Settings are those of its environment.
        """
        chosen = {"concurrency": 4, "lease_ms": LEASE_MS, "drain_ms": 10_000} | settings
        given = {f"BACKLANE_{key.upper()}": str(value) for key, value in chosen.items()}
        process = self.start(command, name, given | {"BACKLANE_WORKER_NAME": name})
        self._greet(name)
        return process

    def produce(self, command: Command, name: str, lines: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a producer that enqueues an execution for each line."""
        return self.start((*command, "--request-id", name), name, {}, lines)

    def printed(self, name: str, producer: subprocess.Popen[bytes]) -> list[dict[str, object]]:
        """Wait for the end of a producer of that name, and return what it printed."""
        assert producer.wait(PATIENCE_S) == 0
        output = (self._folder / f"{name}.out").read_text(encoding="utf-8")
        return [json.loads(line) for line in output.splitlines()]

    def enqueue(
        self,
        callable_name: str,
        *inputs: str,
        **fields: Any,  # noqa: ANN401  # the message's
    ) -> list[str]:
        """Enqueue executions, all at once, and return their ids; fields are of the config."""
        config = records.BackgroundExecutionConfig(**fields)
        items = [
            api.EnqueueRequest(callable_name=callable_name, input=text, config=config)
            for text in inputs
        ]
        batch = api.EnqueueBatchRequest(tenant_id=self.tenant, items=items)
        answer = self._calls.EnqueueBatch(batch, timeout=PATIENCE_S, wait_for_ready=True)
        made = [result.execution.execution_id for result in answer.results]
        self.made += made
        return made

    def begun_by(self, worker: str, among: Sequence[str]) -> list[str]:
        """Wait until a worker runs some of these holds, as it logs, and return them.

        That the server counts them as leased is not enough: a worker may give back at once what has
        not begun.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            log = self.log(worker)
            if found := [execution_id for execution_id in among if execution_id in log]:
                return found
        raise AssertionError(f"{worker} began nothing in {PATIENCE_S} s")

    def ended(self, execution_ids: Sequence[str]) -> list[records.BackgroundExecution]:
        """Wait for the ends of executions and return their records."""
        wait = api.WaitRequest(tenant_id=self.tenant, execution_ids=execution_ids)
        wait.timeout.FromSeconds(PATIENCE_S)
        answer = self._calls.Wait(wait, timeout=2 * PATIENCE_S, wait_for_ready=True)
        assert answer.satisfied, f"not ended within {PATIENCE_S} s"
        return [self.get(execution_id) for execution_id in execution_ids]

    def get(self, execution_id: str) -> records.BackgroundExecution:
        """Read one execution."""
        request = api.GetRequest(tenant_id=self.tenant, execution_id=execution_id)
        return self._calls.Get(request, timeout=PATIENCE_S, wait_for_ready=True).execution

    def run_of(self, execution_id: str) -> records.Execution:
        """Read what happened inside one execution."""
        request = api.GetExecutionRunRequest(tenant_id=self.tenant, execution_id=execution_id)
        answer = self._calls.GetExecutionRun(request, timeout=PATIENCE_S, wait_for_ready=True)
        return answer.execution

    def until(self, execution_id: str, is_so: Callable[[records.Execution], bool]) -> None:
        """Wait until the run of an execution is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so(run := self.run_of(execution_id)):
            assert time.monotonic() < deadline, f"not so after {PATIENCE_S} s: {run}"

    def yielded(self, execution_id: str) -> None:
        """Wait until the worker of an execution has given its lease back."""
        request = api.ListAttemptsRequest(tenant_id=self.tenant, execution_id=execution_id)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._calls.ListAttempts(request, timeout=PATIENCE_S, wait_for_ready=True)
            if all(attempt.HasField("ended_at") for attempt in answer.attempts):
                return
            assert time.monotonic() < deadline, f"still leased after {PATIENCE_S} s"

    def pause(self, execution_id: str) -> None:
        """Ask for a pause."""
        request = api.PauseRequest(tenant_id=self.tenant, execution_id=execution_id)
        self._calls.Pause(request, timeout=PATIENCE_S, wait_for_ready=True)

    def resume(self, execution_id: str) -> None:
        """End a pause."""
        request = api.ResumeRequest(tenant_id=self.tenant, execution_id=execution_id)
        self._calls.Resume(request, timeout=PATIENCE_S, wait_for_ready=True)

    def provide(self, execution_id: str, key: str, value: str) -> None:
        """Provide an input."""
        request = api.ProvideInputRequest(
            tenant_id=self.tenant, execution_id=execution_id, key=key, value=value
        )
        self._calls.ProvideInput(request, timeout=PATIENCE_S, wait_for_ready=True)

    def cancel(self, execution_id: str) -> None:
        """Ask for the end of an execution."""
        request = api.CancelRequest(tenant_id=self.tenant, execution_id=execution_id)
        self._calls.Cancel(request, timeout=PATIENCE_S, wait_for_ready=True)

    def everything(self) -> list[records.BackgroundExecution]:
        """All executions of the tenant."""
        found: list[records.BackgroundExecution] = []
        request = api.ListRequest(tenant_id=self.tenant, page_size=1000)
        while True:
            page = self._calls.List(request, timeout=PATIENCE_S, wait_for_ready=True)
            found.extend(page.executions)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def _greet(self, worker: str) -> None:
        """Enqueue until that worker, among all that are here, has done something."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            greetings = self.enqueue("conformance.echo", *["1"] * 8)
            if worker in {record.worker_id for record in self.ended(greetings)}:
                return
        raise AssertionError(f"{worker} did nothing in {PATIENCE_S} s")

    def log(self, name: str) -> str:
        """What a program wrote to stderr."""
        return (self._folder / f"{name}.log").read_text(encoding="utf-8")

    def start(
        self, command: Command, name: str, settings: dict[str, str], lines: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a program that finds the server by its environment."""
        text = self._folder / f"{name}.in"
        text.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        address = {"BACKLANE_TARGET": self.server.target, "BACKLANE_TENANT": self.tenant}
        log, output = (self._folder / f"{name}.{suffix}" for suffix in ("log", "out"))
        with text.open() as stdin, output.open("w") as stdout, log.open("w") as stderr:
            process = subprocess.Popen(
                command,
                env=os.environ | address | settings,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        self._started.append(process)
        return process
