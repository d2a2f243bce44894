"""The way to a server: which targets are called through a proxy, and which settings are refused."""

from __future__ import annotations

import pytest

from backlane import AsyncClient, Client, Worker, errors
from backlane.channel import Endpoint, proxy_of, tenant_or_default
from backlane.client.patience import explained, nobody_at

PROXY = "http://user:word@proxy.example:3128"
LOOPBACK = [
    *("127.0.0.1:7433", "127.8.9.10:1", "127.1:7433", "localhost:7433", "LocalHost", "[::1]:7433"),
    *("dns:localhost:7433", "dns:///db.localhost:7433", "dns://8.8.8.8/localhost:1"),
    *("ipv4:127.0.0.1:7433", "ipv6:[::1]:7433", "[::ffff:127.0.0.1]:7433"),
]
ELSEWHERE = ["10.0.0.1:7433", "localhost.example:7433", "[fe80::1]:7433", "dns:///db.example:1"]


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with a proxy and nothing exempt from it."""
    for name in ("grpc_proxy", "https_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", PROXY)


def options_of(target: str) -> dict[str, int | str]:
    return dict(Endpoint(target)._all_options())


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("target", [target for target in LOOPBACK if "ffff" not in target])
def test_a_server_on_loopback_is_never_called_through_a_proxy(target: str) -> None:
    assert options_of(target)["grpc.enable_http_proxy"] == 0
    assert proxy_of(target) is None


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_server_elsewhere_is_called_through_the_proxy_and_its_password_is_not_shown(
    target: str,
) -> None:
    assert "grpc.enable_http_proxy" not in options_of(target)
    assert proxy_of(target) == ("http_proxy", "http://proxy.example:3128")
    assert nobody_at(target, "").message == (
        f"no server at {target} through the proxy http://proxy.example:3128, which http_proxy "
        "names: start one with `backlane serve`, name another target, or list the host in no_proxy"
    )


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize(
    ("target", "variables"),
    [
        ("db.example:1", {"no_proxy": "a.example, Example,"}),
        ("10.1.2.3:1", {"no_proxy": "10.0.0.0/8"}),
        ("db.example:1", {"no_grpc_proxy": ".example", "no_proxy": "other"}),
        ("db.example:1", {"http_proxy": "socks5://proxy.example"}),
        ("unix:/run/backlane", {}),
    ],
)
def test_a_server_for_which_grpc_uses_no_proxy_is_not_said_to_have_one(
    monkeypatch: pytest.MonkeyPatch, target: str, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert proxy_of(target) is None


@pytest.mark.usefixtures("proxy")
def test_the_first_variable_that_grpc_reads_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("grpc_proxy", "http://first.example")

    assert proxy_of("db.example:1") == ("grpc_proxy", "http://first.example")


@pytest.mark.parametrize(
    ("clue", "said"),
    [
        ("SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER", "does not speak TLS"),
        ("CERTIFICATE_VERIFY_FAILED: unable to get", "is not trusted: give its CA as `TLS(ca="),
        ("Hostname Verification Check failed.", "is for another name: give that as `TLS(server_"),
        ("Socket closed", "closes each new connection: it may require TLS"),
    ],
)
def test_a_server_that_is_there_and_speaks_otherwise_is_not_called_absent(
    clue: str, said: str
) -> None:
    text = f"failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: {clue}"

    error = explained(nobody_at("db:1", text), "db:1")

    assert said in error.message
    assert "db:1" in error.message
    assert clue in error.message
    assert "no server" not in error.message


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"tenant": ""}, "tenant must not be empty"),
        ({"tenant": "a\udcff"}, r"^tenant 'a\\udcff' is not UTF-8$"),
        ({"target": ""}, "target must not be empty"),
    ],
)
def test_a_setting_that_would_silently_mean_another_is_refused(
    kind: type[Client | AsyncClient], setting: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        kind(**setting)  # type: ignore[arg-type]  # both are texts


def test_a_worker_without_a_target_is_refused() -> None:
    with pytest.raises(ValueError, match="target must not be empty"):
        Worker(target="")


def test_a_variable_that_is_not_utf8_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKLANE_TENANT", "a\udcff")

    with pytest.raises(ValueError, match=r"^BACKLANE_TENANT 'a\\udcff' is not UTF-8$"):
        tenant_or_default(None)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKLANE_TENANT", "")
    monkeypatch.setenv("BACKLANE_TARGET", "")

    assert tenant_or_default(None) == "default"
    assert Endpoint.of().target == "127.0.0.1:7433"


def test_the_error_of_a_call_keeps_its_class() -> None:
    assert isinstance(nobody_at("db:1", ""), errors.UnavailableError)
