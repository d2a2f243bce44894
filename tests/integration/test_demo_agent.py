"""The agent of the demo survives a killed worker and a killed server, and does nothing twice."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from backlane.cli.demo.agent import EFFECTS
from backlane.cli.exits import Exit


@pytest.mark.slow
def test_the_agent_of_the_demo_does_each_step_exactly_once() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "backlane", "demo", "--agent"],
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )

    assert run.returncode == Exit.OK, run.stdout + run.stderr
    assert "killed (SIGKILL) after 3 steps" in run.stdout
    assert "ATTEMPT_ENDED" in run.stdout
    for effect in EFFECTS:
        assert re.search(rf"{effect} +│ completed +│ [\w. ]+ +│ +1 │", run.stdout), run.stdout
