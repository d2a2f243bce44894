"""The command line: its help, what it imports for it, and how it refuses settings."""

from __future__ import annotations

import subprocess
import sys

import pytest

from backlane.cli.main import COMMANDS
from backlane.config import LIMITS, Config, env_name, flag_name


def backlane(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backlane", *arguments],
        capture_output=True,
        check=False,
        text=True,
        env={"COLUMNS": "400", "NO_COLOR": "1", "PATH": "/nowhere", **environ},
    )


def test_the_help_lists_every_command() -> None:
    run = backlane("--help")

    assert run.returncode == 0
    assert [name for name in COMMANDS if name not in run.stdout] == []


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


def test_the_version_is_the_packages() -> None:
    run = backlane("--version")

    assert run.stdout.startswith("backlane ")


@pytest.mark.parametrize("field", Config.model_fields)
def test_every_setting_is_an_option_that_tells_its_variable(field: str) -> None:
    shown = backlane("serve", "--help").stdout

    assert flag_name(field) in shown
    assert env_name(field) in shown


def test_every_limit_is_explained() -> None:
    shown = backlane("serve", "--help").stdout

    assert [name for name in LIMITS if name not in shown] == []


def test_wrong_settings_are_one_line_each_and_status_2() -> None:
    run = backlane("serve", "--listen", "x", "--retention", "y", BACKLANE_MAX_STREAMS="z")

    assert run.returncode == 2
    assert run.stdout == ""
    assert [line.split(":")[:2] for line in run.stderr.splitlines()] == [
        ["backlane", " --listen"],
        ["backlane", " --retention"],
        ["backlane", " BACKLANE_MAX_STREAMS"],
    ]
