"""The test kit with real servers: moved clocks, fixtures, and another project's test folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backlane import Client, Context, Failure, Retry, Worker
from backlane.client import times
from backlane.errors import ExecutionTimedOutError
from backlane.testing import ClockError, ServerProcess
from tests.conformance.door import new_tenant
from tests.integration.client_kinds import KINDS, open_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import Clock, StartWorker
    from tests.conftest import StartServer

README = Path(__file__).resolve().parents[2] / "service" / "backlane" / "testing" / "README.md"
EXAMPLE, SCRIPT = re.findall(r"(?ms)^```python\n(.*?)^```$", README.read_text(encoding="utf-8"))
HOUR = timedelta(hours=1)
# pytest-asyncio warns of itself where this is not set.
WITH_ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")
WITHOUT_ASYNCIO = ("-p", "no:asyncio", "-p", "no:anyio")


@pytest.fixture
def greeter() -> Worker:
    worker = Worker("greeter")

    @worker.callable
    async def greet(name: str) -> str:
        return f"hello {name}"

    return worker


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    log = tmp_path / "log"
    with ServerProcess.start(tmp_path / "data", log=log, test_clock=True) as server:
        yield server


def run_pytest(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder as somebody else would, whose settings are not ours."""
    foreign = {name for name in os.environ if name.startswith(("PYTEST", "BACKLANE"))}
    env = {name: value for name, value in os.environ.items() if name not in foreign}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *args]
    return subprocess.run(
        command, capture_output=True, check=False, cwd=folder, env=env, text=True, timeout=50
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_outlasts_the_memory_of_request_ids_is_one_execution(
    kind: str, own_server: ServerProcess, greeter: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "WAIT_SLICE_S", 0.05)
    day = timedelta(days=1)
    target, tenant = own_server.target, new_tenant()
    with open_client(kind, target, tenant) as client, ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.run, "greet", "Ada", not_before=own_server.clock.now() + day)
        while not client.stats().pending:
            pass  # It is on its way.
        own_server.clock.advance(2 * day)
        with greeter.running(target=target, tenants=tenant):
            assert running.result(30) == "hello Ada"

        assert len(list(client.list())) == 1


def test_a_delayed_start_comes_with_the_hour(
    backlane_client: Client,
    backlane_worker: StartWorker,
    backlane_clock: Clock,
    greeter: Worker,
) -> None:
    backlane_worker(greeter)
    handle = backlane_client.enqueue("greet", "Ada", delay=3600)
    backlane_clock.advance(3590)
    assert handle.get().status == "queued"
    backlane_clock.advance(10)

    assert handle.result(timeout=30) == "hello Ada"


def test_delays_count_from_the_time_of_the_moved_clock(
    backlane_client: Client, backlane_clock: Clock
) -> None:
    backlane_clock.advance(HOUR)
    [one, other] = backlane_client.enqueue_many("greet", ["Ada", "Alan"], delay=HOUR)
    third = backlane_client.enqueue("greet", "Grace", delay=1800.5)
    backlane_clock.advance(3590)

    assert [backlane_client.stats().pending, backlane_client.stats().ready] == [2, 1]
    backlane_clock.advance(10)
    ready = [one.execution_id for one in backlane_client.peek()]
    assert ready == [one.execution_id, other.execution_id, third.execution_id]


def test_a_wait_goes_on_while_the_clock_is_moved(
    backlane_client: Client,
    backlane_worker: StartWorker,
    backlane_clock: Clock,
    greeter: Worker,
) -> None:
    handle = backlane_client.enqueue("greet", "Ada", delay=86_400)
    outputs: list[object] = []
    waiting = threading.Thread(target=lambda: outputs.append(handle.result(timeout=30)))
    waiting.start()
    backlane_worker(greeter)
    for _ in range(24):
        backlane_clock.advance(HOUR)
    waiting.join(30)

    assert outputs == ["hello Ada"]


def test_backoffs_are_skipped(
    backlane_client: Client, backlane_worker: StartWorker, backlane_clock: Clock
) -> None:
    worker = Worker()

    @worker.callable(retry=Retry(max_attempts=4, initial_delay=3600, max_delay=86_400))
    def stumble(ctx: Context) -> int:
        if ctx.attempt < 4:
            raise Failure("not yet", category="network_error")
        return ctx.attempt

    backlane_worker(worker)
    began = datetime.now(UTC)
    record = backlane_clock.play_out(backlane_client.enqueue(stumble, delay=60))

    assert (record.status, record.output, record.attempt) == ("completed", 4, 4)
    assert record.completed_at is not None
    assert record.completed_at - began > 4 * HOUR
    assert datetime.now(UTC) - began < timedelta(seconds=30)


def test_what_nobody_runs_does_not_play_out(backlane_client: Client, backlane_clock: Clock) -> None:
    handle = backlane_client.enqueue("nobody.offers.this", delay=60)
    with pytest.raises(TimeoutError, match="not ended within"):
        backlane_clock.play_out(handle, timeout=0.2)


def test_a_start_deadline_passes(backlane_client: Client, backlane_clock: Clock) -> None:
    handle = backlane_client.enqueue("greet", "Ada", start_deadline=backlane_clock.now() + HOUR)
    backlane_clock.advance(HOUR)

    with pytest.raises(ExecutionTimedOutError) as raised:
        handle.result(timeout=30)
    assert raised.value.execution.reason == "start_deadline"


def test_idle_workers_outlive_a_move(
    backlane_client: Client,
    backlane_worker: StartWorker,
    backlane_clock: Clock,
    greeter: Worker,
) -> None:
    backlane_worker(greeter)
    for name in ("Ada", "Alan", "Grace"):
        assert backlane_client.run("greet", name, wait_timeout=30) == f"hello {name}"
        backlane_clock.advance(timedelta(days=2))


def test_an_attempt_runs_out_of_time_and_its_callable_is_told(
    backlane_client: Client, backlane_worker: StartWorker, backlane_clock: Clock
) -> None:
    worker = Worker()
    began, ended = threading.Event(), threading.Event()

    @worker.callable(timeout=1800)
    def hang(ctx: Context) -> None:
        began.set()
        if ctx.cancelled.wait(30):
            ended.set()

    backlane_worker(worker)
    handle = backlane_client.enqueue(hang)
    assert began.wait(30)
    backlane_clock.advance(1700)
    assert handle.get().status == "running"
    backlane_clock.advance(100)

    assert handle.wait(timeout=30).reason == "attempt_timeout"
    assert ended.wait(30)


def test_a_worker_for_a_server_with_tls_runs_on_that_of_the_test(
    backlane_client: Client, backlane_worker: StartWorker
) -> None:
    worker = Worker(target="tasks.example:443", tls=True, metadata={"authorization": "secret"})

    @worker.callable
    def double(number: int) -> int:
        return 2 * number

    backlane_worker(worker)

    assert backlane_client.run(double, 2, wait_timeout=30) == 4


def test_a_start_without_the_clock_waits_for_the_time_to_come(
    own_server: ServerProcess, start_server: StartServer
) -> None:
    own_server.clock.advance(HOUR)
    with Client(own_server.target, tenant="t") as client:
        newest = client.enqueue("greet").get().queued_at
    own_server.stop()
    server = start_server(own_server.data)
    with Client(server.target, tenant="t") as client:
        handles = [client.enqueue("greet") for _ in range(2)]

        assert [handle.get().queued_at for handle in handles] == [newest, newest]


def test_a_moved_clock_stays_where_it_is_over_a_restart(own_server: ServerProcess) -> None:
    with Client(own_server.target, tenant="t") as client:
        own_server.clock.advance(HOUR)
        handle = client.enqueue("greet", not_before=own_server.clock.now() + HOUR)
        own_server.restart()
        before = own_server.clock.now()
        queued_at = client.enqueue("greet").get().queued_at
        own_server.clock.advance(HOUR)

        assert before - timedelta(seconds=1) < queued_at < before + timedelta(seconds=30)
        assert handle.execution_id in {ready.execution_id for ready in client.peek()}


def test_a_server_says_that_it_runs_on_a_test_clock(own_server: ServerProcess) -> None:
    assert "WARNING backlane.server.app: running on a test clock that is 0s ahead" in (
        own_server.read_log()
    )
    own_server.clock.advance(HOUR)
    own_server.restart()
    assert "running on a test clock that is 1h ahead" in own_server.read_log()


def test_a_clock_whose_server_has_ended_does_not_move(own_server: ServerProcess) -> None:
    own_server.stop()
    with pytest.raises(ClockError, match="the server has ended"):
        own_server.clock.advance(1)

    assert own_server.clock.ahead == timedelta(0)


def test_a_refusal_of_the_server_is_the_clocks_error(own_server: ServerProcess) -> None:
    with pytest.raises(ClockError, match="at most 50 years ahead"):
        own_server.clock.advance(timedelta(days=365 * 51))


def test_the_machines_clock_is_not_moved(server: ServerProcess) -> None:
    with pytest.raises(RuntimeError, match="test_clock=True"):
        _ = server.clock


def test_a_tests_own_client_and_worker_need_no_settings(
    backlane_worker: StartWorker, backlane_tenant: str, greeter: Worker
) -> None:
    backlane_worker(greeter)
    with Client() as client:
        assert client.tenant == backlane_tenant
        assert client.run("greet", "Ada", wait_timeout=30) == "hello Ada"


def test_a_tests_own_client_finds_the_server_of_the_clock(backlane_clock: Clock) -> None:
    backlane_clock.advance(HOUR)
    with Client() as client:
        queued_at = client.enqueue("greet").get().queued_at

    assert queued_at > datetime.now(UTC) + HOUR / 2


def test_the_example_of_the_page_passes(tmp_path: Path) -> None:
    (tmp_path / "test_reminders.py").write_text(EXAMPLE, encoding="utf-8")
    run = run_pytest(tmp_path, *WITHOUT_ASYNCIO)

    assert run.returncode == 0, run.stdout
    assert re.search(r"\b7 passed in", run.stdout)


def test_the_script_of_the_page_runs(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-W", "error", "script.py"]
    run = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, text=True)

    assert (run.returncode, run.stderr) == (0, "")


STRANGER = """
import pytest


@pytest.fixture
def numbers(backlane_client, backlane_worker):
    from backlane import Worker

    worker = Worker()

    @worker.callable
    def double(number: int) -> int:
        return 2 * number

    backlane_worker(worker)
    return backlane_client


@pytest.mark.parametrize("number", [1, 2])
def test_numbers(numbers, number):
    assert numbers.run("double", number, wait_timeout=30) == 2 * number
    assert len(list(numbers.list())) == 1


def test_later(backlane_clock, numbers):
    before = backlane_clock.now()
    handle = numbers.enqueue("double", 3, delay=3600)
    assert backlane_clock.play_out(handle).output == 6
    assert (backlane_clock.now() - before).total_seconds() >= 3600
"""


@pytest.mark.parametrize("args", [WITH_ASYNCIO, WITHOUT_ASYNCIO])
def test_a_stranger_has_the_fixtures_without_a_conftest(
    tmp_path: Path, args: tuple[str, ...]
) -> None:
    (tmp_path / "test_numbers.py").write_text(STRANGER, encoding="utf-8")
    run = run_pytest(tmp_path, *args)

    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed in" in run.stdout
    assert "warning" not in run.stdout


def test_a_clock_that_is_asked_for_too_late_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_late.py").write_text(
        "def test_late(request, backlane_tenant):\n    request.getfixturevalue('backlane_clock')\n",
        encoding="utf-8",
    )
    run = run_pytest(tmp_path, *WITHOUT_ASYNCIO)

    assert run.returncode == 1
    assert "add backlane_clock to the arguments of the test" in run.stdout


def test_a_run_without_the_fixtures_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\n"
        "def test_nothing():\n"
        "    assert 'backlane.testing.plugin' in sys.modules\n"
        "    heavy = {'grpc', 'pydantic', 'google.protobuf', 'backlane._core', 'backlane.client'}\n"
        "    assert heavy & set(sys.modules) == set()\n",
        encoding="utf-8",
    )
    run = run_pytest(tmp_path, *WITHOUT_ASYNCIO, "-p", "no:hypothesispytest")

    assert run.returncode == 0, run.stdout
