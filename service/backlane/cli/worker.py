"""Owns `backlane worker`: runs the callables of a user's module until a signal stops it."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from backlane.cli.durations import read_duration
from backlane.cli.exits import Exit
from backlane.cli.options import option
from backlane.cli.trouble import Trouble, printable

if TYPE_CHECKING:
    from backlane.worker import Worker

EXITS = (Exit.OK, Exit.USAGE, Exit.UNAVAILABLE, Exit.REFUSED)

_IN_CODE = "the setting in the code, else "
_FLAGS = {"tenants": "--tenant", "name": "--name", "concurrency": "--concurrency"}
"""The settings that the worker class checks, with the option for each."""

App = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:WORKER",
        show_default=False,
        help="A module, found from the current folder, and the name of the worker in it. "
        "The name may be left out if the module has one worker only.",
    ),
]
Target = Annotated[
    str | None,
    option(
        "--target",
        "The server's address; BACKLANE_TARGET gives it if the code does not.",
        default=f"{_IN_CODE}127.0.0.1:7433",
        metavar="HOST:PORT",
    ),
]
Tenants = Annotated[
    list[str] | None,
    option(
        "--tenant",
        "The tenant whose executions to run, * for all; may be repeated; BACKLANE_TENANT gives "
        "it if the code does not.",
        default=f"{_IN_CODE}default",
        metavar="TENANT",
    ),
]
Name = Annotated[
    str | None,
    option(
        "--name",
        "The beginning of the worker's id in records and logs; host, process and a random part "
        "follow, so that replicas may share a name.",
        default=f"{_IN_CODE}none",
        metavar="NAME",
    ),
]
Concurrency = Annotated[
    int | None,
    option(
        "--concurrency",
        "The most executions to run at once.",
        default=f"{_IN_CODE}16",
        metavar="NUMBER",
        min=1,
    ),
]
Lease = Annotated[
    str | None,
    option(
        "--lease",
        "Time without a heartbeat after which another worker may take its executions, 1s to 1h.",
        default=f"{_IN_CODE}30s",
        metavar="DURATION",
    ),
]
DrainTimeout = Annotated[
    str | None,
    option(
        "--drain-timeout",
        "When stopping, how long callables may run before their executions are given back.",
        default=f"{_IN_CODE}30s",
        metavar="DURATION",
    ),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    option(
        "--log-level",
        "The least severe messages to log: debug, info, warning or error.",
        default="info",
        variable="BACKLANE_LOG_LEVEL",
        metavar="LEVEL",
    ),
]
Reload = Annotated[
    bool,
    option(
        "--reload",
        "Drain and restart the worker whenever a source file changes; for development.",
        default="no",
    ),
]


def command(  # noqa: PLR0913  # one parameter for each setting
    app: App,
    *,
    target: Target = None,
    tenant: Tenants = None,
    name: Name = None,
    concurrency: Concurrency = None,
    lease: Lease = None,
    drain_timeout: DrainTimeout = None,
    log_level: LogLevel = None,
    reload: Reload = False,
) -> int:
    """Run the callables of a worker until SIGTERM, SIGINT or SIGHUP.

    The first signal drains the worker: it takes no more executions and lets callables finish. A
    second signal stops the callables too. The command prints one line when it starts, and logs to
    stderr. While the server is away, the worker waits for it.
    """
    # A callable may fork, as pools of processes do. gRPC's fork support does not work while its
    # threads are busy, as in a worker, and breaks the child. gRPC reads this on import.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    overrides: dict[str, Any] = {
        "target": target,
        "tenants": tenant or None,
        "name": name or None,
        "concurrency": concurrency,
        "lease": _lease(lease),
        "drain_timeout": _seconds("--drain-timeout", drain_timeout),
    }
    _check(overrides)
    if reload:
        from backlane.cli.reload import run_reloading

        return run_reloading(app, sys.argv[1:])
    from backlane.cli.app_module import find_worker

    worker = find_worker(app)
    if target is None:
        _check_variable(worker)
    _log_to_stderr(log_level)
    return _run(app, worker, overrides)


def _check(overrides: dict[str, Any]) -> None:
    """Refuse bad settings here, where it is known which option gave them."""
    from backlane.cli.connection import checked_target
    from backlane.worker import Worker

    if overrides["target"] is not None:
        checked_target(overrides["target"])
    for setting, flag in _FLAGS.items():
        if overrides[setting] is None:
            continue
        try:
            # With tenants given, a bad BACKLANE_TENANT is not blamed on this option.
            Worker(**{"tenants": "*", setting: overrides[setting]})
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint=flag) from None


def _check_variable(worker: Worker) -> None:
    """Refuse a BACKLANE_TARGET that is not an address: the worker would retry it for ever."""
    from backlane.channel import TARGET_VARIABLE
    from backlane.cli.connection import checked_target

    # A target in the code may be a name for some other resolver of gRPC.
    target = os.environ.get(TARGET_VARIABLE)
    if target and target == worker.target:
        checked_target(target)


def _run(app: str, worker: Worker, overrides: dict[str, Any]) -> int:
    from backlane.cli.refusals import trouble_of
    from backlane.errors import BacklaneError
    from backlane.worker import CallableError

    try:
        for called in worker.callables.values():
            called.prepare()
        if worker.callables:
            typer.echo(f"backlane worker {app} starts, with {', '.join(sorted(worker.callables))}")
            sys.stdout.flush()
        worker.run(**overrides)
    except (ValueError, CallableError) as error:
        raise Trouble(f"{app}: {error}", Exit.USAGE) from None
    except BacklaneError as error:
        raise trouble_of(error, overrides["target"] or "the worker's target") from None
    return Exit.OK


def _seconds(flag: str, text: str | None) -> float | None:
    return None if text is None else read_duration(flag, text).total_seconds()


def _lease(text: str | None) -> float | None:
    from backlane.worker.worker import LEASE_MAX_S, LEASE_MIN_S

    seconds = _seconds("--lease", text)
    if seconds is not None and not LEASE_MIN_S <= seconds <= LEASE_MAX_S:
        raise typer.BadParameter(f"{text!r} is not a duration from 1s to 1h", param_hint="--lease")
    return seconds


def _log_to_stderr(level: str | None) -> None:
    # Keeps logging that the user's module has set up, except for a level that was asked for.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=(level or "info").upper())
    if level is not None:
        logging.getLogger("backlane").setLevel(level.upper())


class _Printable(logging.Formatter):
    """Escapes control characters: errors may hold inputs, which may come from anybody."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
