"""The command line: help, imports, completion, and arguments that cannot be used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.core

from backlane import channel
from backlane.cli.exits import MEANINGS
from backlane.cli.main import COMMANDS, load, run
from backlane.cli.options import Place
from backlane.cli.variables import VARIABLES, unknown_variables
from backlane.config import LIMITS, Config, env_name, flag_name
from tests.benchmarks.main import WORKLOADS

ROOT = Path(__file__).resolve().parents[2]

TALKING = (
    *("worker", "enqueue", "run", "get", "attempts", "why", "task", "graph", "list", "wait"),
    *("cancel", "steps", "input", "pause", "resume", "peek", "stats", "count", "delete"),
    *("dead-letters", "redrive", "discard", "limit", "limits"),
)
"""The commands that talk to a server."""

FULL_HELP = "Show all fields, including input, output, context and metadata. (default no)"


def backlane(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backlane", *arguments],
        capture_output=True,
        check=False,
        text=True,
        env={"COLUMNS": "400", "NO_COLOR": "1", "PATH": "/nowhere", **environ},
    )


def options(command: str) -> list[Any]:
    """Every option of a command, but for the one that typer adds itself."""
    return [
        part
        for part in load(command).params
        if isinstance(part, typer.core.TyperOption) and part.name != "help"
    ]


def test_the_help_lists_every_command() -> None:
    run = backlane("--help")

    assert run.returncode == 0
    assert [name for name in COMMANDS if name not in run.stdout] == []


def test_a_command_goes_where_a_client_goes() -> None:
    # Two places, since a help that knew of the channel would import gRPC.
    place = Place()

    assert (place.target, place.tenant) == (channel.TARGET_DEFAULT, channel.TENANT_DEFAULT)


@pytest.mark.parametrize("variable", ["BACKLANE_TARGET", "BACKLANE_TENANT"])
def test_a_next_command_needs_only_what_is_not_so_by_itself(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("BACKLANE_TARGET", raising=False)
    monkeypatch.delenv("BACKLANE_TENANT", raising=False)
    place = Place(target="a:1", tenant="acme")
    assert (Place().flags, place.flags) == ("", " --target a:1 --tenant acme")

    monkeypatch.setenv(variable, "a:1" if variable.endswith("TARGET") else "acme")
    left = " --tenant acme" if variable.endswith("TARGET") else " --target a:1"
    assert place.flags == left


@pytest.mark.parametrize("command", [(), ("stats",), ("serve",)])
def test_the_help_has_a_short_name(command: tuple[str, ...]) -> None:
    assert backlane(*command, "-h").stdout == backlane(*command, "--help").stdout != ""


def test_a_help_that_is_not_read_to_its_end_is_status_141() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as unread:
        run = subprocess.run(
            [sys.executable, "-m", "backlane", "--help"],
            check=False,
            stdout=unread,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert (run.returncode, run.stderr) == (141, "")


def test_the_help_imports_no_command_and_nothing_of_the_server() -> None:
    program = (
        "import sys\nfrom backlane.cli.main import make_group\nmake_group()\n"
        "print([name for name in sys.modules if name in ('grpc', 'pydantic', 'backlane._core')"
        " or name.startswith(('backlane.cli.', 'backlane.server'))])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )

    assert run.stdout.strip() == (
        "['backlane.cli.exits', 'backlane.cli.trouble', 'backlane.cli.main']"
    )


@pytest.mark.parametrize("name", TALKING)
def test_the_help_of_a_command_imports_nothing_of_grpc(name: str) -> None:
    program = (
        "import sys\nfrom backlane.cli.main import run\n"
        f"run([{name!r}, '--help'])\nsys.exit('grpc' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_version_is_the_packages() -> None:
    run = backlane("--version")

    assert run.stdout.startswith("backlane ")


def test_without_a_command_there_is_help_and_status_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = run([])

    assert status == 2
    assert "Usage: backlane" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_option_tells_default_and_variable(command: str) -> None:
    shown = options(command)
    silent = [part.opts[0] for part in shown if "default " not in part.help]
    unnamed = [part.envvar for part in shown if (part.envvar or "") not in part.help]

    assert shown or command == "demo"  # which takes a folder, and no option
    assert silent == []
    assert unnamed == []


@pytest.mark.parametrize("name", [name for name in TALKING if name != "worker"])
def test_every_client_command_has_target_tenant_and_json(name: str) -> None:
    found = {part.opts[0]: part.envvar for part in load(name).params if part.opts[0][0] == "-"}

    assert found.items() >= {
        ("--target", "BACKLANE_TARGET"),
        ("--tenant", "BACKLANE_TENANT"),
        ("--json", None),
    }


@pytest.mark.parametrize("name", TALKING)
def test_the_help_of_a_command_tells_its_exit_statuses(name: str) -> None:
    epilog = load(name).epilog

    told = [status for status, meaning in MEANINGS.items() if f"{status:d} {meaning}" in epilog]

    assert told[:3] in ([0, 1, 2], [0, 2, 3], [0, 2, 4])


@pytest.mark.parametrize("field", Config.model_fields)
def test_every_setting_is_an_option_that_tells_its_variable(field: str) -> None:
    [option] = [part for part in options("serve") if flag_name(field) in part.opts]

    assert env_name(field) in option.help


def test_every_limit_is_explained() -> None:
    shown = backlane("serve", "--help").stdout

    assert [name for name in LIMITS if name not in shown] == []


def test_every_variable_that_is_read_is_known() -> None:
    settings = {env_name(field) for field in Config.model_fields}
    shared = {part.envvar for command in COMMANDS for part in options(command) if part.envvar}
    pages = ("service/backlane/testing/conformance/README.md", "tests/README.md")
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages)

    assert set(VARIABLES) == settings | shared | set(re.findall(r"BACKLANE_[A-Z_]+", text))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("BACKLANE_MAX_STREAM", ": did you mean BACKLANE_MAX_STREAMS?"),
        ("BACKLANE_LIMIT", ": did you mean BACKLANE_LIMITS?"),
        ("BACKLANE_TENNANT", ": did you mean BACKLANE_TENANT?"),
        ("BACKLANE_DATA_DIR", ": did you mean BACKLANE_DATA?"),
        ("BACKLANE_XYZ", ": see `backlane serve --help` for the variables of the server"),
    ],
)
def test_a_variable_that_nothing_reads_is_named_with_the_nearest_one(name: str, hint: str) -> None:
    assert list(unknown_variables({name: "1", "BACKLANE_TARGET": "a:1", "PATH": "/bin"})) == [
        f"ignored the environment variable {name}, which Backlane does not know{hint}"
    ]


def test_variables_that_kubernetes_sets_are_not_told() -> None:
    environ = {
        "BACKLANE_PORT": "tcp://10.0.0.1:7433",
        "BACKLANE_PORT_7433_TCP": "tcp://10.0.0.1:7433",
        "BACKLANE_PORT_7433_TCP_ADDR": "10.0.0.1",
        "BACKLANE_SERVICE_HOST": "10.0.0.1",
        "BACKLANE_SERVICE_PORT_GRPC": "7433",
        "BACKLANE_BETA_SERVICE_PORT": "7433",
        "BACKLANE_BETA_PORT": "udp://10.0.0.1:7433",
    }

    assert list(unknown_variables(environ)) == []
    assert len(list(unknown_variables({"BACKLANE_PORT": "7433"}))) == 1


def test_a_command_warns_of_an_unknown_variable_and_goes_on() -> None:
    run = backlane("--version", BACKLANE_TENNANT="acme")

    assert run.returncode == 0
    assert run.stdout.startswith("backlane ")
    assert run.stderr == (
        "backlane: ignored the environment variable BACKLANE_TENNANT, which Backlane does not "
        "know: did you mean BACKLANE_TENANT?\n"
    )


def test_wrong_settings_are_one_line_each_and_status_2() -> None:
    run = backlane("serve", "--listen", "x", "--retention", "y", BACKLANE_MAX_STREAMS="z")

    assert run.returncode == 2
    assert run.stdout == ""
    assert [line.split(":")[:2] for line in run.stderr.splitlines()] == [
        ["backlane", " --listen"],
        ["backlane", " --retention"],
        ["backlane", " BACKLANE_MAX_STREAMS"],
    ]


@pytest.mark.parametrize(
    ("shell", "words", "completed"),
    [
        ("bash", "backlane ", list(COMMANDS)),
        ("bash", "backlane en", ["enqueue"]),
        ("bash", "backlane enqueue greet --retry", ["--retry-delay", "--retry-strategy"]),
        ("bash", "backlane list --status c", ["completed", "cancelled"]),
        ("bash", "backlane serve --l", ["--listen", "--limit", "--log-level"]),
        (
            "zsh",
            "backlane list --fu",
            [
                f'_arguments \'*: :(("--full":"{FULL_HELP}"))\'',
            ],
        ),
        ("fish", "backlane pe", [f"peek\t{COMMANDS['peek']}"]),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_shells_complete_commands_options_and_values(
    shell: str, words: str, completed: list[str]
) -> None:
    last = len(words.split()) - (not words.endswith(" "))
    run = backlane(
        BACKLANE_TENNANT="of which completion does not warn",
        _BACKLANE_COMPLETE=f"complete_{shell}",
        COMP_WORDS=words,
        COMP_CWORD=str(last),
        _TYPER_COMPLETE_ARGS=words,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )

    assert run.stdout.splitlines() == completed
    assert run.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_for_a_shell(shell: str) -> None:
    run = backlane("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")

    assert "_BACKLANE_COMPLETE" in run.stdout
    assert (run.returncode, run.stderr) == (0, "")


def test_the_help_of_bench_names_each_workload() -> None:
    *others, last = WORKLOADS
    assert f"{', '.join(others)} or {last};" in " ".join(backlane("bench", "--help").stdout.split())
