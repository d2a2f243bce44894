"""Wrong settings of a worker, and the messages about them."""

import datetime as dt
import math
import os
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from backlane import TLS, Worker
from backlane.channel import Endpoint
from backlane.worker import CallableError
from backlane.worker.identity import checked_id
from backlane.worker.threads import DaemonPool


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "a b"}, "name 'a b' must be 1 to 128 of"),
        ({"tenants": []}, 'tenants is empty: name at least one, or use "\\*" for all'),
        ({"tenants": ["a", "b c"]}, "tenant 'b c' must be 1 to 128 of"),
        ({"worker_id": "a b"}, "worker_id 'a b' must be 1 to 128 of"),
        ({"name": "a", "worker_id": "b"}, "name and worker_id exclude each other"),
        ({"concurrency": 0}, "concurrency must be from 1 to 5000, not 0"),
        ({"concurrency": 5001}, "concurrency must be from 1 to 5000, not 5001"),
        ({"lease": 0.5}, "lease must be from 1 to 3600 seconds, not 0.5"),
        ({"lease": dt.timedelta(hours=2)}, "lease must be from 1 to 3600 seconds, not datetime"),
        ({"drain_timeout": -1}, "drain_timeout must be from 0 to 9223372036 seconds, not -1"),
        ({"drain_timeout": math.nan}, "drain_timeout must be from 0 to 9223372036 seconds"),
        ({"drain_timeout": math.inf}, "drain_timeout must be from 0 to 9223372036 seconds"),
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
        ({"concurrency": 12_000}, "concurrency must be from 1 to 5000, not 12000"),
    ],
)
def test_a_setting_of_one_run_that_cannot_be_used_is_named(
    overrides: dict[str, object], said: str
) -> None:
    worker = Worker("w")
    worker.callable(name="x")(lambda: None)

    with pytest.raises(ValueError, match=said):
        worker.start(**overrides)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"concurrency": 1.5}, "concurrency must be a whole number, not 1.5"),
        ({"concurrency": True}, "concurrency must be a whole number, not True"),
        ({"lease": "30"}, "lease must be a number of seconds or a timedelta, not '30'"),
    ],
)
def test_a_setting_of_another_type_is_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Worker(**settings)  # type: ignore[arg-type]


def test_a_time_may_be_a_timedelta() -> None:
    settings = Worker(lease=dt.timedelta(minutes=1))._with(drain_timeout=dt.timedelta(seconds=2))

    assert (settings.lease, settings.drain_timeout) == (60.0, 2.0)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> str:
    """The host and the process of a worker that starts now, as its id has them."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    monkeypatch.setattr(socket, "gethostname", lambda: "host-1")
    return "host-1:7-[0-9a-f]{6}"


def test_an_id_is_made_of_name_host_and_process(process: str) -> None:
    assert re.fullmatch(f"mailer@{process}", Worker("mailer")._with().worker_id)
    assert re.fullmatch(f"other@{process}", Worker("mailer")._with(name="other").worker_id)
    assert re.fullmatch(process, Worker()._with().worker_id)


@pytest.mark.usefixtures("process")
def test_no_two_runs_have_one_id() -> None:
    worker = Worker("mailer")
    ids = [worker._with().worker_id, worker._with().worker_id, Worker("mailer")._with().worker_id]

    assert len(set(ids)) == 3


def test_an_exact_id_is_kept(process: str) -> None:
    assert Worker(worker_id="w-1")._with().worker_id == "w-1"
    assert Worker("mailer")._with(worker_id="w-2").worker_id == "w-2"
    assert re.fullmatch(f"mailer@{process}", Worker(worker_id="w")._with(name="mailer").worker_id)


@pytest.mark.usefixtures("process")
@pytest.mark.parametrize("host", ["höst name!", "x" * 200, ""])
def test_an_id_fits_the_server_whatever_the_host_is_called(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)

    for name in ("", "n" * 128):
        made = Worker(name)._with().worker_id
        assert checked_id(made, "id") == made
        assert re.search(":7-[0-9a-f]{6}$", made)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"timeout": -1}, ValueError, "timeout must be finite and at least 0.001 seconds, not -1"),
        ({"timeout": dt.timedelta(0)}, ValueError, "timeout must be finite and at least 0.001"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds or a timedelta"),
        ({"priority": 300}, ValueError, "priority must be from 0 to 255, not 300"),
        ({"priority": 1.0}, TypeError, "priority must be a whole number, not 1.0"),
        ({"concurrency": 0}, ValueError, "concurrency must be from 1 to 5000, not 0"),
        ({"concurrency": 5001}, ValueError, "concurrency must be from 1 to 5000, not 5001"),
        ({"retry": 3}, TypeError, "retry must be a backlane.Retry, not 3"),
    ],
)
def test_an_option_of_a_callable_that_cannot_be_used_is_refused_where_it_is_written(
    options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        Worker().callable(name="x", **options)(lambda: None)


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
