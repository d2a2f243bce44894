"""Runs the console session of the top-level README."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
PROMPT = "$ "
ID = re.compile(r"exec_[0-9A-Za-z]{27}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")
SERVE = re.compile(r"(?m)^backlane serve .*> (server\.log) &$")
WAIT = r"\g<0>\nuntil grep -q serving \1; do sleep 0.01; done"
"""What a person does who looks whether the server is there."""
LIMIT_S = 50


def session() -> tuple[list[str], list[str]]:
    """What the README's one console block shows: the lines typed, and the lines answered."""
    [block] = re.findall(r"(?ms)^```console\n(.*?)^```$", README.read_text(encoding="utf-8"))
    typed: list[str] = []
    answered: list[str] = []
    end_of_document = None
    for line in block.splitlines():
        if end_of_document is not None:
            typed.append(line)
            end_of_document = None if line == end_of_document else end_of_document
        elif line.startswith(PROMPT):
            typed.append(line.removeprefix(PROMPT))
            document = re.search(r"<<'(\w+)'$", line)
            end_of_document = document[1] if document else None
        else:
            answered.append(line)
    return typed, answered


def without_ids(lines: list[str]) -> list[str]:
    """The same lines with each id as a number, so that equal ids stay equal."""
    ids: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[0] not in ids:
            ids.append(match[0])
        return f"exec_{ids.index(match[0])}"

    return [INSTANT.sub("an instant", ID.sub(number, line)) for line in lines]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def play(script: Path, address: str) -> str:
    """Run a script in its folder, and end all that it left behind."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-e", str(script)],
        cwd=script.parent,
        env=os.environ | {"PATH": path, "BACKLANE_LISTEN": address, "BACKLANE_TARGET": address},
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=LIMIT_S)
        finally:
            # The session's processes are one group: where it ended as it should, nobody is left.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return output


def test_the_session_of_the_readme_answers_what_the_readme_says(tmp_path: Path) -> None:
    typed, answered = session()
    address = f"127.0.0.1:{free_port()}"
    script = tmp_path / "session.sh"
    script.write_text(SERVE.sub(WAIT, "\n".join(typed)) + "\n", encoding="utf-8")

    assert without_ids(answered) == without_ids(play(script, address).splitlines())
