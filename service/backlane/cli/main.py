"""Owns the command `backlane`: lists the commands, and imports only the one that is run."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer
import typer.core
import typer.main

from backlane.cli.exits import Exit, explain
from backlane.cli.trouble import Trouble, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMANDS: Final[Mapping[str, str]] = {
    "serve": "Run the server.",
    "worker": "Run the callables of a module.",
    "enqueue": "Enqueue an execution and print its id.",
    "run": "Enqueue an execution, wait for it, and print its output.",
    "get": "Show one execution.",
    "attempts": "Show the attempts of one execution.",
    "why": "Say why an execution waits.",
    "task": "Show one execution as a task record.",
    "graph": "Show what one execution depends on.",
    "list": "List executions, newest first.",
    "count": "Count executions.",
    "wait": "Wait until executions have ended.",
    "cancel": "Cancel an execution.",
    "dead-letters": "List what has failed or timed out.",
    "redrive": "Run an execution that is over once more.",
    "discard": "Take executions out of the dead letters.",
    "delete": "Delete an execution that is over.",
    "steps": "Show the steps of one execution.",
    "input": "Provide an input that an execution waits for.",
    "pause": "Keep an execution from workers.",
    "resume": "Let a paused or waiting execution go on.",
    "peek": "Show the executions that workers get next.",
    "stats": "Count unfinished executions.",
    "limits": "List the limits on running executions.",
    "limit": "Set or lift a limit on running executions.",
    "check": "Check a data directory for damage, or save what is undamaged in it.",
    "backup": "Copy the data directory of a server, which may be running.",
    "restore": "Make a data directory from a backup.",
    "demo": "Watch executions survive a killed worker and a killed server.",
    "bench": "Measure the performance of a server on this machine.",
    "conformance": "Check a worker program against the protocol.",
}
"""The commands and their lines in the help; `backlane.cli.<name>.command` is the function,
with an underscore for a hyphen."""

_SETTINGS: Final = {"help_option_names": ["--help", "-h"]}

_UNWRITABLE: Final = {errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}
"""Error numbers of a failed write to stdout. An error about a file carries the file's name."""
_UsageError: Final[type[Exception]] = typer.BadParameter.__base__  # type: ignore[assignment]
"""What typer raises for a command line that it cannot read; typer has no public name for it."""


def main() -> None:
    """Run the command that the process's arguments name, and exit with its status."""
    # gRPC's core would write to stderr about errors that the commands report themselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _open_missing()
    for stream in (sys.stdout, sys.stderr):
        # Output is UTF-8 whatever the locale, and a character that has no UTF-8 is escaped.
        _as_utf8(stream)
    _tell_unknown_variables()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status; a problem is reported as one line on stderr."""
    try:
        status = make_group().main(list(arguments), prog_name="backlane", standalone_mode=False)
    except Trouble as trouble:
        say(trouble.line)
        return trouble.status
    except _UsageError as error:
        say(_usage_line(error))
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        _discard_output()
        say(f"the output cannot be written: {error.strerror}")
        return Exit.UNWRITTEN
    return status if isinstance(status, int) else Exit.OK


def make_group() -> typer.core.TyperGroup:
    """Make `backlane` with a stand-in for each command, which is imported when it is run."""
    app = typer.Typer(
        cls=_Commands,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings=_SETTINGS,
    )
    app.callback()(_options)
    for name, line in COMMANDS.items():
        app.command(name, help=line)(_not_asked_for)
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)  # noqa: S101  # it has more commands than one
    return group


def load(name: str) -> Any:  # noqa: ANN401  # typer has no public name for what it makes
    """Import a command and make a typer command of it."""
    module = importlib.import_module(f"backlane.cli.{name.replace('-', '_')}")
    exits = getattr(module, "EXITS", None)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(
        name,
        short_help=COMMANDS[name],
        epilog=exits and explain(*exits),
        context_settings=_SETTINGS,
    )(module.command)
    return typer.main.get_command(app)


class _Commands(typer.core.TyperGroup):
    """Replaces a stand-in by the real command when that is run or completed."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401  # of the group
        if args[0] in COMMANDS:
            self.add_command(load(args[0]), args[0])
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **settings: Any) -> Any:  # noqa: ANN401  # typer's own
        try:
            return super().make_context(*args, **settings)
        except (BrokenPipeError, SystemExit) as end:
            # As in `invoke`. Where rich prints the help, it turns a broken pipe into exit status 1.
            # Completion ends here with 0.
            if isinstance(end, SystemExit) and end.code != 1:
                raise
            _discard_output()
            raise typer.Exit(Exit.UNREAD) from None

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # whatever a command returns
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of the output has stopped reading, as `| head` does.
            _discard_output()
            return Exit.UNREAD
        return status


def _tell_unknown_variables() -> None:
    """Warn of a misspelt variable, which would otherwise be ignored without a word."""
    if "_BACKLANE_COMPLETE" in os.environ:  # a shell asks for completions: no place to warn
        return
    from backlane.cli.variables import unknown_variables

    for line in unknown_variables(os.environ):
        say(line)


def _open_missing() -> None:
    """Open the standard streams that the caller closed, as with `>&-`, so that all three exist."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # With the same number, which the next opened file would get otherwise.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _discard_output() -> None:
    """Send the rest of the output to /dev/null."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _not_asked_for() -> None:
    """Stand in for a command in the list of commands."""


def _usage_line(error: Any) -> str:  # noqa: ANN401  # as `_UsageError`
    context = error.ctx
    path = context.command_path if context is not None else "backlane"
    message = str(error.format_message()).rstrip(".").replace("Value error, ", "")
    if context is not None and context.parent is None and hasattr(error, "option_name"):
        message = f"no such option: {error.option_name} (options of a command come after its name)"
    return f"{message[:1].lower()}{message[1:]}: see `{path} --help`"


def _as_utf8(stream: TextIO | Any) -> None:  # noqa: ANN401  # or whatever was put in its place
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _show_version(is_asked: bool) -> None:  # noqa: FBT001  # typer passes it by position
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"backlane {version('backlane')}")
        raise typer.Exit


def _options(
    context: typer.Context,
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> int:
    """Backlane: durable background executions over gRPC."""
    del version
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return Exit.USAGE
    return Exit.OK
