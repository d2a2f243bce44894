"""Fixtures: a server behind a channel, and a tenant for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from tests.conformance.door import CHANNEL_OPTIONS, Door, new_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartServer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--target", default=None, help="HOST:PORT of a server to test, in place of one of our own"
    )


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> str:
    """The address of the server under test."""
    given: str | None = request.config.getoption("--target", default=None)
    if given is not None:
        return given
    address: str = request.getfixturevalue("server").target
    return address


@pytest.fixture(scope="session")
def shared_channel(target: str) -> Iterator[grpc.Channel]:
    """One channel for all tests that leave it usable."""
    with grpc.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        yield channel


@pytest.fixture
def door(shared_channel: grpc.Channel) -> Door:
    """The server, for a tenant that no other test uses."""
    return Door(shared_channel, new_tenant())


@pytest.fixture
def own_server(request: pytest.FixtureRequest) -> StartServer:
    """Starts servers for this test only; tests that need one are skipped with `--target`."""
    if request.config.getoption("--target", default=None) is not None:
        pytest.skip("needs a server of its own")
    start: StartServer = request.getfixturevalue("start_server")
    return start
