"""Owns `backlane worker`: runs the callables of a user's module until it is told to stop."""

from __future__ import annotations

import logging
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
    if reload:
        from backlane.cli.reload import run_reloading

        return run_reloading(app, sys.argv[1:])
    overrides: dict[str, Any] = {
        "target": target,
        "tenants": tenant or None,
        "name": name,
        "concurrency": concurrency,
        "lease": _seconds("--lease", lease),
        "drain_timeout": _seconds("--drain-timeout", drain_timeout),
    }
    from backlane.cli.app_module import find_worker

    worker = find_worker(app)
    _log_to_stderr(log_level)
    return _run(app, worker, overrides)


def _run(app: str, worker: Worker, overrides: dict[str, Any]) -> int:
    from backlane.cli.refusals import trouble_of
    from backlane.errors import BacklaneError
    from backlane.worker import CallableError

    offered = ", ".join(sorted(worker.callables))
    if offered:
        typer.echo(f"backlane worker {app} starts, with {offered}")
        sys.stdout.flush()
    try:
        worker.run(**overrides)
    except (ValueError, CallableError) as error:
        raise Trouble(f"{app}: {error}", Exit.USAGE) from None
    except BacklaneError as error:
        raise trouble_of(error, overrides["target"] or "the worker's target") from None
    return Exit.OK


def _seconds(flag: str, text: str | None) -> float | None:
    return None if text is None else read_duration(flag, text).total_seconds()


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
