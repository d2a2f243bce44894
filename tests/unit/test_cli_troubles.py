"""The messages and the exit statuses of commands for errors of calls."""

from __future__ import annotations

import pytest

from backlane.cli.exits import Exit
from backlane.cli.refusals import trouble_of
from backlane.errors import REASONS, ErrorParts, UnavailableError, UnimplementedError
from backlane.errors.calls import Code

TARGET = "127.0.0.1:7433"
STATUSES = {
    "INVALID_ARGUMENT": Exit.USAGE,
    "TOO_LARGE": Exit.USAGE,
    "EXECUTION_NOT_FOUND": Exit.NOT_FOUND,
    "EXECUTION_DELETED": Exit.NOT_FOUND,
    "REQUEST_ID_REUSED": Exit.REFUSED,
    "ALREADY_EXISTS": Exit.REFUSED,
    "TRANSITION_NOT_ALLOWED": Exit.REFUSED,
    "LEASE_LOST": Exit.REFUSED,
    "UNAUTHENTICATED": Exit.REFUSED,
    "PERMISSION_DENIED": Exit.REFUSED,
    "QUEUE_FULL": Exit.UNAVAILABLE,
    "QUOTA_EXCEEDED": Exit.UNAVAILABLE,
    "RATE_LIMITED": Exit.UNAVAILABLE,
    "DISK_FULL": Exit.UNAVAILABLE,
    "DRAINING": Exit.UNAVAILABLE,
    "STORE_UNAVAILABLE": Exit.UNAVAILABLE,
    "DATA_DAMAGED": Exit.REFUSED,
    "INTERNAL": Exit.UNAVAILABLE,
}


def test_every_reason_of_the_contract_has_an_exit_status() -> None:
    told = {
        reason: trouble_of(row.error(ErrorParts(row.code, "text", reason)), TARGET).status
        for reason, row in REASONS.items()
    }

    assert told == STATUSES


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "Connection refused",
            (
                f"no server at {TARGET}: start one with `backlane serve`, or name another with "
                "--target"
            ),
        ),
        (
            "no server at it (Socket closed)",
            (
                f"no server at {TARGET}: start one with `backlane serve`, or name another with "
                "--target"
            ),
        ),
        (
            f"{TARGET} closes each new connection: it may require TLS (Socket closed)",
            (
                f"the server at {TARGET} closes each new connection: it may require TLS, which the "
                "commands do not speak, or be no Backlane server; name another with --target"
            ),
        ),
        (
            "Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame)",
            f"the server at {TARGET} is not a Backlane server: name another with --target",
        ),
        (
            "failed to connect to all addresses; last error: UNAVAILABLE: Socket closed",
            (
                f"the server at {TARGET} closes each new connection: it may require TLS, which the "
                "commands do not speak, or be no Backlane server; name another with --target"
            ),
        ),
        (
            "address lookup failed: Domain name not found",
            f"no host has the name in {TARGET}: name another with --target",
        ),
    ],
)
def test_a_server_that_is_not_there_is_told_apart(text: str, line: str) -> None:
    trouble = trouble_of(UnavailableError(ErrorParts(Code.UNAVAILABLE, text)), TARGET)

    assert (trouble.line, trouble.status) == (line, Exit.UNAVAILABLE)


def test_a_server_behind_a_proxy_is_named_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://user:word@proxy.example:3128")
    error = UnavailableError(ErrorParts(Code.UNAVAILABLE, "Connection refused"))

    assert trouble_of(error, "db.example:7433").line == (
        "no server at db.example:7433 through the proxy http://proxy.example:3128, which "
        "http_proxy names: start one with `backlane serve`, name another with --target, or list "
        "the host in no_proxy"
    )
    assert trouble_of(error, TARGET).line.startswith(f"no server at {TARGET}: start one")


def test_a_server_that_stops_is_not_called_away() -> None:
    error = REASONS["DRAINING"].error(ErrorParts(Code.UNAVAILABLE, "", "DRAINING"))

    assert trouble_of(error, TARGET).line == (
        f"the server at {TARGET} is stopping: try again once it is back"
    )


def test_braces_of_a_message_stand_as_they_are() -> None:
    parts = ErrorParts(Code.NOT_FOUND, "no {target} {error.code}", "EXECUTION_DELETED")

    assert trouble_of(REASONS["EXECUTION_DELETED"].error(parts), TARGET).line == parts.message


def test_a_server_of_another_version_is_named() -> None:
    trouble = trouble_of(UnimplementedError(ErrorParts(Code.UNIMPLEMENTED, "")), TARGET)

    assert "its version differs from that of this command" in trouble.line
    assert trouble.status == Exit.UNAVAILABLE
