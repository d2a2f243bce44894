"""Owns the server's lifecycle: assembles its parts, runs them, and stops them in order."""

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
from backlane.config import duration_text
from backlane.server.address import AddressError, check_address, listen
from backlane.server.bounds import Bounds
from backlane.server.clock import ClockDesk
from backlane.server.descriptors import served_pool
from backlane.server.health import Health
from backlane.server.identity import identify_from, is_loopback
from backlane.server.reflection import Reflection
from backlane.server.transport import Transport

if TYPE_CHECKING:
    from backlane.config import Config

_LOG = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
"""The store failed while the server ran."""
EXIT_CANNOT_START: Final = 2
"""The address or the data cannot be used; one line on stderr says why."""

RECEIVE_BYTES_MAX: Final = 20 * 1024 * 1024
STOP_GRACE_S: Final = 1.0
"""How long replies may take to be sent while the server stops, in seconds."""
PRODUCERS_GRACE_S: Final = 1.0
"""How long the streams of producers may take to be answered when the server stops, in seconds."""
OTHER_STREAMS: Final = 100
"""Streams of a connection beyond the limits for calls: health, reflection, refusals."""


def run(config: Config) -> int:
    """Serve until a signal, and return the exit status."""
    # During recovery Ctrl-C ends the process, as SIGTERM does. Python's own handler would run
    # only after recovery, which is one long call.
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
    """Raise the soft limit on open files, of which each connection needs one, to the hard limit."""
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
    """Print a line to stdout, for a program that waits for it."""
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
        """Make a server with a core that has recovered."""
        self._config = config
        self._core = core
        self._signals: list[signal.Signals] = []
        self._is_asked_to_stop = asyncio.Event()

    async def run(self) -> int:
        """Serve until SIGTERM, SIGINT or SIGHUP, drain, and return the exit status.

        Raises:
            AddressError: the server cannot listen on its address.
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
        health, reflection = Health(pool, config.max_streams), Reflection(pool)
        server = grpc.aio.server(options=_options(config))
        server.add_generic_rpc_handlers((transport, health.handler(), *reflection.handlers()))
        target = listen(server, config)
        if identify is None and not is_loopback(config.host):
            _LOG.warning(
                "%s is open to the network and has no authentication: anybody who can connect can "
                "read and change the executions of every tenant",
                target,
            )
        if config.test_clock is not None:
            _LOG.warning(
                "running on a test clock that is %s ahead: commands on stdin move it further",
                duration_text(config.test_clock),
            )
        self._listen_for_signals()
        await server.start()
        health.set_serving(is_serving=True)
        _announce(
            f"backlane {__version__} is serving on {target}, data in {config.store or 'memory'}"
        )
        self._take_clock_commands()
        await self._is_asked_to_stop.wait()
        health.set_serving(is_serving=False)
        await self._drain(transport)
        health.close()
        reflection.close()
        await server.stop(STOP_GRACE_S)
        # On a thread, so that the loop can take the core's last completions.
        await asyncio.to_thread(core.stop)
        transport.close()
        _LOG.info("stopped")
        return EXIT_OK

    async def _drain(self, transport: Transport) -> None:
        """Wait for open calls and streams up to the drain grace, and end the others."""
        grace_s = self._config.drain_grace.total_seconds()
        _LOG.info("draining; a second %s stops the server at once", self._signals[0].name)
        # Before the core drains, so that what producers have sent is answered, not refused.
        await transport.drain_producers(min(grace_s, PRODUCERS_GRACE_S))
        self._core.begin_drain()
        if not await transport.settle(grace_s):
            _LOG.warning("ended calls and streams that were still open after %g s", grace_s)
            transport.shed()
        transport.end_arrivals()

    def _take_clock_commands(self) -> None:
        # None if the process was started without stdin; then the clock cannot be moved.
        stdin: TextIO | None = sys.stdin
        if self._config.test_clock is not None and stdin is not None:
            ClockDesk(self._core.advance, stdin.fileno()).start()

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGTERM, signal.SIGINT]
        # It is ignored under nohup, so that the server outlives its terminal.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        self._signals.append(number)
        if len(self._signals) > 1:
            _LOG.warning("%s again: stopping at once", number.name)
            _exit_now(128 + number)
        self._is_asked_to_stop.set()


def _die(message: str) -> None:
    """End the process, since no call may be acknowledged after the store failed."""
    _LOG.critical("the store failed: %s", message)
    _exit_now(EXIT_FAILED)


def _exit_now(status: int) -> None:
    """Exit without cleanup, which could still send a reply. The next start recovers."""
    sys.stdout.flush()
    logging.shutdown()
    os._exit(status)


def _options(config: Config) -> list[tuple[str, int]]:
    most = config.max_in_flight + config.max_streams + OTHER_STREAMS
    return [
        # Otherwise two servers could share a port, and each would get some of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
        ("grpc.max_send_message_length", -1),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_concurrent_streams", most),
        # Calls that Python has not taken yet. Beyond the first number grpc begins to cancel calls
        # at random, beyond the second it cancels all, without an error that says why.
        ("grpc.server.max_pending_requests", most),
        ("grpc.server.max_pending_requests_hard_limit", most + OTHER_STREAMS),
        # Finds peers that are gone without closing the connection, to abandon their calls.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # Lets idle workers ping. By default grpc disconnects them with too_many_pings.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]
