"""Owns `backlane worker`: runs the callables of a user's module until it is told to stop."""

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

_IN_CODE = "what the worker says in code, else "
_FLAGS = {"tenants": "--tenant", "name": "--name", "concurrency": "--concurrency"}
"""The settings that a worker itself checks, each with its option."""

App = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:WORKER",
        show_default=False,
        help="A module, found from the current folder, and its worker's name there; "
        "the name can be left out where there is one worker alone.",
    ),
]
Target = Annotated[
    str | None,
    option(
        "--target",
        "The server; BACKLANE_TARGET gives it where the code does not.",
        default=f"{_IN_CODE}127.0.0.1:7433",
        metavar="HOST:PORT",
    ),
]
Tenants = Annotated[
    list[str] | None,
    option(
        "--tenant",
        "Whose executions it runs, * for all; may be repeated; BACKLANE_TENANT gives it "
        "where the code does not.",
        default=f"{_IN_CODE}default",
        metavar="TENANT",
    ),
]
Name = Annotated[
    str | None,
    option(
        "--name",
        "Its id, as records and logs show it.",
        default=f"{_IN_CODE}host and process",
        metavar="NAME",
    ),
]
Concurrency = Annotated[
    int | None,
    option(
        "--concurrency",
        "Executions it runs at once.",
        default=f"{_IN_CODE}16",
        metavar="NUMBER",
        min=1,
    ),
]
Lease = Annotated[
    str | None,
    option(
        "--lease",
        "Silence that loses its executions to another worker, 1s to 1h.",
        default=f"{_IN_CODE}30s",
        metavar="DURATION",
    ),
]
DrainTimeout = Annotated[
    str | None,
    option(
        "--drain-timeout",
        "How long a stop lets callables run on before it gives their executions back.",
        default=f"{_IN_CODE}30s",
        metavar="DURATION",
    ),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    option(
        "--log-level",
        "Least severe messages logged: debug, info, warning or error.",
        default="info",
        variable="BACKLANE_LOG_LEVEL",
        metavar="LEVEL",
    ),
]
Reload = Annotated[
    bool,
    option(
        "--reload",
        "Drain it and start it again whenever a source file changes; for development.",
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
    """Run the callables of a worker until SIGTERM or SIGINT, which drain it; a second one hurries.

    Prints one line once it starts, and logs to stderr. A server that is away is waited for.
    """
    # A callable may fork, as pools of processes do. gRPC's own care for that, which looks here as
    # it is imported, cannot be had while its threads are busy, as a worker's are, and breaks the
    # child.
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
    """Refuse what no worker takes; only here is it known which option said it."""
    from backlane.cli.connection import checked_target
    from backlane.worker import Worker

    if overrides["target"] is not None:
        checked_target(overrides["target"])
    for setting, flag in _FLAGS.items():
        if overrides[setting] is None:
            continue
        try:
            # The tenants of the environment are no matter of these options.
            Worker(**{"tenants": "*", setting: overrides[setting]})
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint=flag) from None


def _check_variable(worker: Worker) -> None:
    """Refuse a target that is the environment's and no address: it would be tried for ever."""
    from backlane.channel import TARGET_VARIABLE
    from backlane.cli.connection import checked_target

    # What the code says may be a name of a resolver of its own.
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
        raise typer.BadParameter(f"{text!r} is not from 1s to 1h", param_hint="--lease")
    return seconds


def _log_to_stderr(level: str | None) -> None:
    # Logging that the user's module has set up stands, but for what was asked for.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=(level or "info").upper())
    if level is not None:
        logging.getLogger("backlane").setLevel(level.upper())


class _Printable(logging.Formatter):
    """Keeps what callables raise from acting on the terminal: inputs may come from anybody."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
