"""TLS and headers of clients and workers, with a server that requires both."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme

from backlane import TLS, AsyncClient, Client, Worker, errors
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api
from backlane.v1 import worker_service_pb2 as work
from backlane.v1.execution_service_pb2_grpc import (
    ExecutionServiceServicer,
    add_ExecutionServiceServicer_to_server,
)
from backlane.v1.worker_service_pb2_grpc import (
    WorkerServiceServicer,
    add_WorkerServiceServicer_to_server,
)
from tests.conformance.door import new_tenant
from tests.integration.client_kinds import KINDS, open_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backlane.testing import ServerProcess

ID = "exec_1srOrx2ZWZBpBUvZwXKQmoEYga2"
HEADERS = {"authorization": "Bearer secret"}
PATIENCE_S = 20


class Desk(ExecutionServiceServicer, WorkerServiceServicer):
    """Answers enough to be seen, and keeps what headers came with it."""

    def __init__(self) -> None:
        self.headers: list[str | bytes] = []
        self.has_worker = threading.Event()

    def note(self, context: grpc.ServicerContext) -> None:
        self.headers += [text for name, text in context.invocation_metadata() if name in HEADERS]

    def Get(  # noqa: N802  # gRPC's name
        self, request: api.GetRequest, context: grpc.ServicerContext
    ) -> api.GetResponse:
        self.note(context)
        execution = records.BackgroundExecution(execution_id=request.execution_id)
        return api.GetResponse(execution=execution)

    def EnqueueStream(  # noqa: N802  # as above
        self, request_iterator: Iterator[api.EnqueueStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[api.EnqueueStreamResponse]:
        self.note(context)
        for request in request_iterator:
            result = api.EnqueueOutcome(result=api.EnqueueResult(execution_id=ID))
            yield api.EnqueueStreamResponse(outcomes=[result] * len(request.items))

    def Work(  # noqa: N802  # as above
        self, request_iterator: Iterator[work.WorkRequest], context: grpc.ServicerContext
    ) -> Iterator[work.WorkResponse]:
        self.note(context)
        for request in request_iterator:
            if request.HasField("hello"):
                yield work.WorkResponse(welcome=work.WorkWelcome())
                self.has_worker.set()


@pytest.fixture(params=KINDS)
def client_kind(request: pytest.FixtureRequest) -> str:
    """Which of the two clients it is."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs certificates."""
    return trustme.CA()


@pytest.fixture
def desk(authority: trustme.CA) -> Iterator[tuple[Desk, str]]:
    """A server behind TLS that asks for a certificate, and its address."""
    made = authority.issue_cert("localhost")
    credentials = grpc.ssl_server_credentials(
        [(made.private_key_pem.bytes(), made.cert_chain_pems[0].bytes())],
        authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    desk = Desk()  # type: ignore[abstract]  # what it lacks is UNIMPLEMENTED
    server = grpc.server(futures.ThreadPoolExecutor(4))
    add_ExecutionServiceServicer_to_server(desk, server)
    add_WorkerServiceServicer_to_server(desk, server)
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    yield desk, f"localhost:{port}"
    server.stop(None).wait()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> TLS:
    """This side's certificate, as files and as bytes."""
    made = authority.issue_cert("client.example")
    ca, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(str(ca))
    made.private_key_pem.write_to_path(str(key))
    return TLS(ca=ca, certificate=made.cert_chain_pems[0].bytes(), key=str(key))


def test_a_client_speaks_tls_and_sends_its_headers(desk: tuple[Desk, str], tls: TLS) -> None:
    seen, target = desk
    with Client(target, tls=tls, metadata=HEADERS) as client:
        assert client.get(ID).execution_id == ID
        assert client.enqueue("work").execution_id == ID

    assert seen.headers == ["Bearer secret"] * 2


async def test_an_asyncio_client_does_so_too(desk: tuple[Desk, str], tls: TLS) -> None:
    seen, target = desk
    async with AsyncClient(target, tls=tls, metadata=HEADERS) as client:
        assert (await client.get(ID)).execution_id == ID
        assert (await client.enqueue("work")).execution_id == ID

    assert seen.headers == ["Bearer secret"] * 2


def test_a_worker_does_so_too(desk: tuple[Desk, str], tls: TLS) -> None:
    seen, target = desk
    worker = Worker(target=target, tls=tls, metadata=HEADERS, drain_timeout=0.1)

    @worker.callable
    def work() -> None: ...

    with worker.running():
        assert seen.has_worker.wait(PATIENCE_S)

    assert seen.headers == ["Bearer secret"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", "secret\n"),
        ("authorization", "sëcret"),
        ("authorization", 5),
        ("authorization", b"secret"),
        ("trace-bin", "secret"),
        ("Authorization", "secret"),
        ("a b", "secret"),
        ("", "secret"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_by_its_name(
    name: str,
    value: Any,  # noqa: ANN401  # some are no headers
) -> None:
    for kind in (Client, AsyncClient, Worker):
        with pytest.raises(ValueError, match="metadata") as refused:
            kind(metadata={name: value})
        assert repr(name) in str(refused.value)
        assert "secret" not in str(refused.value)


async def test_a_file_that_cannot_be_read_is_named_each_time(tmp_path: Path) -> None:
    async with AsyncClient(tls=TLS(ca=tmp_path / "none.pem")) as client:
        for _ in range(2):
            with pytest.raises(FileNotFoundError, match=r"none\.pem"):
                await client.enqueue("work")


def test_a_certificate_of_a_stranger_is_not_trusted(desk: tuple[Desk, str], tls: TLS) -> None:
    _, target = desk
    stranger = TLS(ca=trustme.CA().cert_pem.bytes(), certificate=tls.certificate, key=tls.key)
    with (
        Client(target, tls=stranger, wait_for_server=False) as client,
        pytest.raises(errors.UnavailableError, match=f"server at {target} is not trusted: give"),
    ):
        client.get(ID)


@pytest.mark.parametrize("settings", [{"wait_for_server": False}, {"call_timeout": 0.5}])
@pytest.mark.parametrize("name", ["enqueue", "get"])
def test_a_plain_server_is_not_called_absent_by_a_client_with_tls(
    client_kind: str, server: ServerProcess, name: str, settings: dict[str, Any]
) -> None:
    said = f"the server at {server.target} does not speak TLS: connect without it"
    with (
        open_client(client_kind, server.target, "acme", tls=True, **settings) as client,
        pytest.raises(errors.UnavailableError, match=said),
    ):
        getattr(client, name)(ID)


def test_a_server_with_tls_is_not_called_absent_by_a_plain_client(
    client_kind: str, desk: tuple[Desk, str]
) -> None:
    _, target = desk
    with (
        open_client(client_kind, target, "acme", wait_for_server=False) as client,
        pytest.raises(errors.UnavailableError, match="it may require TLS"),
    ):
        client.get(ID)


def test_a_server_on_loopback_is_reached_whatever_proxy_there_is(
    client_kind: str, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    # Nobody listens there.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:1")

    with open_client(client_kind, server.target, new_tenant(), wait_for_server=False) as client:
        assert client.enqueue("x").get().status == "queued"


def test_a_server_that_is_called_through_a_proxy_is_named_with_it(
    client_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "no_grpc_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://user:word@127.0.0.1:1")
    said = "no server at 10.9.8.7:1 through the proxy http://127.0.0.1:1, which http_proxy names"
    with (
        open_client(client_kind, "10.9.8.7:1", "acme", call_timeout=0.5) as client,
        pytest.raises(errors.UnavailableError, match=said),
    ):
        client.get(ID)


def test_a_name_that_is_not_the_certificates_can_be_overridden(
    desk: tuple[Desk, str], tls: TLS, authority: trustme.CA
) -> None:
    _, target = desk
    by_number = target.replace("localhost", "127.0.0.1")
    named = TLS(
        ca=authority.cert_pem.bytes(),
        certificate=tls.certificate,
        key=tls.key,
        server_name="localhost",
    )
    with Client(by_number, tls=named) as client:
        assert client.get(ID).execution_id == ID
