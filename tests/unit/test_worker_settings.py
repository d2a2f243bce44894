"""Wrong settings of a worker, and the messages about them."""

import os
import socket
import threading
from pathlib import Path

import pytest

from backlane import TLS, Worker
from backlane.channel import Endpoint
from backlane.worker import CallableError
from backlane.worker.threads import DaemonPool


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "a b"}, "name 'a b' must be 1 to 128 of"),
        ({"tenants": []}, 'tenants is empty: name at least one, or use "\\*" for all'),
        ({"tenants": ["a", "b c"]}, "tenant 'b c' must be 1 to 128 of"),
        ({"concurrency": 0}, "concurrency must be at least 1, not 0"),
        ({"concurrency": 5001}, "concurrency must be at most 5000, not 5001"),
        ({"lease": 0.5}, "lease must be from 1 to 3600 seconds, not 0.5"),
        ({"drain_timeout": -1}, "drain_timeout must not be negative: -1"),
        (
            {"metadata": {"Authorization": "x"}},
            "the name of metadata 'Authorization' may have a-z 0-9",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Worker(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"name": "bad name!"}, "name 'bad name!' must be 1 to 128 of"),
        ({"concurrency": 12_000}, "concurrency must be at most 5000, not 12000"),
    ],
)
def test_a_setting_of_one_run_that_cannot_be_used_is_named(
    overrides: dict[str, object], said: str
) -> None:
    worker = Worker("w")
    worker.callable(name="x")(lambda: None)

    with pytest.raises(ValueError, match=said):
        worker.start(**overrides)


def test_a_worker_without_a_name_is_named_after_the_process_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker()
    monkeypatch.setattr(os, "getpid", lambda: 7)

    assert worker._with().name == f"{socket.gethostname()}:7"
    assert worker._with(name="other").name == "other"
    assert Worker("own")._with().name == "own"


def test_two_callables_of_one_name_are_refused_and_both_are_named() -> None:
    worker = Worker()

    @worker.callable(name="mail.send")
    def first() -> None: ...

    def second() -> None: ...

    with pytest.raises(CallableError, match=r"two callables are named mail.send: .*first.*second"):
        worker.callable(name="mail.send")(second)


def test_a_name_that_no_server_takes_is_refused() -> None:
    with pytest.raises(CallableError, match="'send mail' cannot name a callable"):
        Worker().callable(name="send mail")(lambda: None)


def test_a_callable_without_slots_is_refused() -> None:
    with pytest.raises(ValueError, match="concurrency must be at least 1, not 0"):
        Worker().callable(name="x", concurrency=0)(lambda: None)
    with pytest.raises(ValueError, match="concurrency must be at most 5000, not 5001"):
        Worker().callable(name="x", concurrency=5001)(lambda: None)


def test_a_worker_that_offers_nothing_does_not_start() -> None:
    with pytest.raises(CallableError, match="this worker has no callables"):
        Worker().start()


def test_defaults_of_a_callable_are_what_was_given() -> None:
    worker = Worker()

    @worker.callable(priority=0, timeout=5)
    def work() -> None: ...

    assert work.defaults == {"priority": 0, "timeout": 5}
    assert worker.callables == {"work": work}


def test_the_environment_gives_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Endpoint.of().target == "127.0.0.1:7433"
    monkeypatch.setenv("BACKLANE_TARGET", "there:1")

    assert Endpoint.of().target == "there:1"
    assert Endpoint.of("here:2").target == "here:2"


def test_half_a_pair_of_certificate_and_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs both a certificate and a key"):
        TLS(certificate=b"x").credentials()
    with pytest.raises(FileNotFoundError):
        TLS(ca=tmp_path / "missing").credentials()


def test_a_pool_runs_no_more_at_once_than_it_may() -> None:
    pool = DaemonPool(2, "test")
    gate, began, done = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    def work() -> None:
        began.release()
        gate.wait(10)
        done.release()

    for _ in range(3):
        pool.submit(work)

    assert began.acquire(timeout=10)
    assert began.acquire(timeout=10)
    assert not began.acquire(blocking=False)
    gate.set()
    assert all(done.acquire(timeout=10) for _ in range(3))
    pool.close()
