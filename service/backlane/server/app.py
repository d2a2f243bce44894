"""Owns the server's life: puts its parts together, runs them, and ends them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TextIO

import grpc

from backlane._core import Core, CoreError, __version__
from backlane.server.address import AddressError, check_address, listen
from backlane.server.clock import ClockDesk
from backlane.server.descriptors import served_pool
from backlane.server.health import Health
from backlane.server.identity import identify_from, is_loopback
from backlane.server.reflection import reflection_handlers
from backlane.server.transport import Bounds, Transport

if TYPE_CHECKING:
    from backlane.config import Config

_LOG = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
"""The store failed while the server ran."""
EXIT_CANNOT_START: Final = 2
"""Port, data or settings cannot be used; one line on stderr says why."""

RECEIVE_BYTES_MAX: Final = 20 * 1024 * 1024
STOP_GRACE_S: Final = 1.0
"""How long replies that are on their way out may take when the server stops, in seconds."""
OTHER_STREAMS: Final = 100
"""What one connection may have open beyond all that is let in: health, reflection, refusals."""


def run(config: Config) -> int:
    """Serve until a signal, and return the exit status."""
    # Until there is a loop to drain, Ctrl-C ends the process as SIGTERM does: recovery is one long
    # call, which Python's own handler would wait for.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _allow_many_connections()
    try:
        check_address(config)
        core = _open_core(config)
    except (AddressError, CoreError) as error:
        return _cannot_start(error)
    try:
        return asyncio.run(Server(config, core).run())
    except AddressError as error:
        return _cannot_start(error)
    finally:
        core.stop()


def _allow_many_connections() -> None:
    """Raise the soft limit on open files, one per connection, to what the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _open_core(config: Config) -> Core:
    ahead = config.test_clock
    return Core(
        data=config.store,
        limits=config.limits,
        accept_loss=config.accept_loss,
        retention_ms=config.retention // timedelta(milliseconds=1),
        clock_ahead_ms=None if ahead is None else ahead // timedelta(milliseconds=1),
    )


def _announce(line: str) -> None:
    """Print a line, which whoever started the server waits for, or nobody does."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError as error:
        _LOG.warning("stdout cannot be written (%s): %s", error.strerror, line)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _cannot_start(error: Exception) -> int:
    sys.stderr.write(f"backlane: {error}\n")
    return EXIT_CANNOT_START


class Server:
    """One run of the server, from its first call to its last reply."""

    def __init__(self, config: Config, core: Core) -> None:
        """Make a server of a core that has recovered."""
        self._config = config
        self._core = core
        self._signals: list[signal.Signals] = []
        self._is_asked_to_stop = asyncio.Event()

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT, drain, and return the exit status.

        Raises:
            AddressError: the port cannot be had.
        """
        config, core = self._config, self._core
        identify = identify_from(config)
        transport = Transport(
            core,
            Bounds(config.max_in_flight, config.max_streams),
            on_failure=_die,
            identify=identify,
        )
        pool = served_pool()
        health = Health(pool, config.max_streams)
        server = grpc.aio.server(options=_options(config))
        server.add_generic_rpc_handlers((transport, health.handler(), *reflection_handlers(pool)))
        target = listen(server, config)
        if identify is None and not is_loopback(config.host):
            _LOG.warning(
                "%s is open to the network and no identity is configured: whoever reaches it can "
                "read and change the executions of every tenant",
                target,
            )
        if config.test_clock is not None:
            _LOG.warning(
                "running on a test clock, %s ahead of the machine's: stdin moves it further",
                config.test_clock,
            )
        self._listen_for_signals()
        await server.start()
        health.set_serving(is_serving=True)
        _announce(
            f"backlane {__version__} is serving on {target}, data in {config.store or 'memory'}"
        )
        self._take_clock_commands()
        await self._is_asked_to_stop.wait()
        await self._drain(server, transport, health)
        return EXIT_OK

    async def _drain(self, server: grpc.aio.Server, transport: Transport, health: Health) -> None:
        """Let everything under way come to its end, then stop."""
        grace_s = self._config.drain_grace.total_seconds()
        _LOG.info("draining: %s again stops at once", self._signals[0].name)
        health.set_serving(is_serving=False)
        self._core.begin_drain()
        if not await transport.settle(grace_s):
            _LOG.warning("calls or streams were still open after %g s and are ended", grace_s)
            transport.shed()
        health.close()
        await server.stop(STOP_GRACE_S)
        # Off the loop, which meanwhile takes what the core completes at its end.
        await asyncio.to_thread(self._core.stop)
        transport.close()
        _LOG.info("stopped")

    def _take_clock_commands(self) -> None:
        # None where the process was started without: then the clock just runs.
        stdin: TextIO | None = sys.stdin
        if self._config.test_clock is not None and stdin is not None:
            ClockDesk(self._core.advance, stdin.fileno()).start()

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        self._signals.append(number)
        if len(self._signals) > 1:
            _LOG.warning("%s again: stopping at once", number.name)
            _exit_now(128 + number)
        self._is_asked_to_stop.set()


def _die(message: str) -> None:
    """End the process: nothing may be acknowledged once the store failed."""
    _LOG.critical("the store failed: %s", message)
    _exit_now(EXIT_FAILED)


def _exit_now(status: int) -> None:
    """Leave without unwinding, which could still let a reply out; recovery covers the rest."""
    sys.stdout.flush()
    logging.shutdown()
    os._exit(status)


def _options(config: Config) -> list[tuple[str, int]]:
    return [
        # Else two servers share a port, and each gets some of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
        ("grpc.max_send_message_length", -1),
        ("grpc.server_handshake_timeout_ms", 10_000),
        (
            "grpc.max_concurrent_streams",
            config.max_in_flight + config.max_streams + OTHER_STREAMS,
        ),
        # Finds peers that vanished without a word, so that their calls are abandoned.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # Lets idle workers ping: the default answers them with too_many_pings and a closed door.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]
