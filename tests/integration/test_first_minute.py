"""The first steps of a new user: an empty folder, ten lines of code, and a printed result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from backlane.testing.server import READY_LINE

CHECKOUT = Path(__file__).resolve().parents[2]
APP = """\
from backlane import Worker

worker = Worker()


@worker.callable
async def greet(name: str) -> str:
    return f"hello {name}"
"""
INSTALL_S = 540
STEP_S = 30


def start(command: list[str], folder: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
    """Start a command in the user's folder, which talks on stdout."""
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=log, text=True
        )


@pytest.mark.slow
@pytest.mark.timeout(INSTALL_S + 2 * STEP_S)
def test_from_an_empty_folder_to_a_result_on_the_screen(tmp_path: Path) -> None:
    # What a test runner sets is none of a user's.
    variables = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST")}
    variables.pop("PYTHONPATH", None)
    scripts = tmp_path / ".venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / ".venv"], check=True)
    pip = [str(scripts / "python"), "-m", "pip", "install", "--quiet", str(CHECKOUT)]
    subprocess.run(pip, check=True, cwd=tmp_path, env=variables, timeout=INSTALL_S)
    (tmp_path / "app.py").write_text(APP)
    backlane = str(scripts / "backlane")

    with ExitStack() as stack:
        serve = [backlane, "serve", "--listen", "127.0.0.1:0"]
        server = stack.enter_context(start(serve, tmp_path, variables))
        stack.callback(server.kill)
        assert server.stdout is not None
        ready = READY_LINE.match(server.stdout.readline())
        assert ready is not None
        variables["BACKLANE_TARGET"] = ready["target"]
        worker = stack.enter_context(start([backlane, "worker", "app:worker"], tmp_path, variables))
        stack.callback(worker.kill)
        run = subprocess.run(
            [backlane, "run", "greet", "Ada"],
            capture_output=True,
            check=False,
            env=variables,
            text=True,
            timeout=STEP_S,
        )
        ends = []
        for process in (worker, server):
            process.send_signal(signal.SIGTERM)
            ends.append(process.wait(STEP_S))

    assert (run.returncode, run.stdout, run.stderr) == (0, "hello Ada\n", "")
    assert ends == [0, 0]
    assert (tmp_path / "backlane-data").is_dir()
