"""The guide of the Python package: its examples are run from top to bottom, on a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import StartServer

GUIDE = Path(__file__).resolve().parents[2] / "service" / "backlane" / "README.md"


def test_the_examples_of_the_guide_hold(start_server: StartServer, tmp_path: Path) -> None:
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"))
    script = tmp_path / "guide.py"
    script.write_text("\n".join([*blocks, 'print("all of it")']), encoding="utf-8")
    environment = os.environ | {"BACKLANE_TARGET": start_server().target}

    run = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        check=False,
        env=environment,
        text=True,
        timeout=50,
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout == "all of it\n"
