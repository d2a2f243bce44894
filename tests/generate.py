"""Generates service/backlane/v1 from proto/backlane/v1, or checks that it is up to date.

    python tests/generate.py            writes
    python tests/generate.py --check    compares, and names the files that differ

The code comes from one fixed protoc, that of grpcio-tools 1.75.0, because protobuf 6 and 7
both load what it makes. That package itself asks for protobuf 6 and would pull the whole
environment down to it, so it is installed without its dependencies, in a folder of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
SERVICE = ROOT / "service"
GENERATED = Path("backlane/v1")
GRPC_TOOLS = "grpcio-tools==1.75.0"
PROTOC_HOME = Path(sys.prefix) / "share" / GRPC_TOOLS.replace("==", "-")


def install_protoc() -> None:
    """Installs the fixed protoc beside the environment's packages, once."""
    if (PROTOC_HOME / "grpc_tools").is_dir():
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--target", str(PROTOC_HOME), GRPC_TOOLS], check=True)


def run_protoc(options: Sequence[str], files: Sequence[Path]) -> None:
    """Runs the fixed protoc, with this environment's plugins in reach."""
    names = [path.relative_to(PROTO).as_posix() for path in files]
    scripts = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PYTHONPATH": str(PROTOC_HOME),
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")]),
    }
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *options, *names]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)


def generate(out: Path) -> None:
    """Writes the messages of every file, and the stubs of those that define a service."""
    files = sorted((PROTO / GENERATED).glob("*.proto"))
    services = [path for path in files if path.stem.endswith("_service")]
    run_protoc([f"--python_out={out}", f"--mypy_out=quiet:{out}"], files)
    run_protoc([f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"], services)


def contents(source_root: Path) -> dict[str, bytes]:
    """The generated files under a source root, by name."""
    found = (source_root / GENERATED).glob("*_pb2*.py*")
    return {path.name: path.read_bytes() for path in found}


def stale_names() -> list[str]:
    """The generated files that differ from what the .proto files say now."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = contents(Path(folder))
    committed = contents(SERVICE)
    return sorted(name for name in fresh | committed if fresh.get(name) != committed.get(name))


def check() -> int:
    """Prints the files that are not up to date, and answers how the process should exit."""
    stale = stale_names()
    for name in stale:
        print(f"not up to date: service/{GENERATED}/{name}")
    return 1 if stale else 0


def write() -> int:
    """Replaces the generated files, so that none outlives the .proto it came from."""
    for name in contents(SERVICE):
        (SERVICE / GENERATED / name).unlink()
    generate(SERVICE)
    return 0


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Generate service/backlane/v1.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    install_protoc()
    return check() if arguments.check else write()


if __name__ == "__main__":
    sys.exit(main())
