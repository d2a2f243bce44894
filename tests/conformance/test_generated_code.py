"""The page of the protocol says how to generate code; this does what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests import generate
from tests.conformance.clients import programs

if TYPE_CHECKING:
    from pathlib import Path

PAGE: Final = (programs.ROOT / "proto" / "README.md").read_text(encoding="utf-8")
NAMES: Final = ("admin_service", "execution", "execution_service", "explanation", "worker_service")
# Compilers and plugins are built or installed at the first use.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(programs.BUILD_TIMEOUT_S)]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the page's `buf.gen.yaml` fills."""
    programs.go_tool("protoc-gen-go")
    programs.node_packages()
    programs.protoc()
    [template] = re.findall(r"(?s)```yaml\n(version: v2\n.*?)```", PAGE)
    folder = tmp_path_factory.mktemp("generated")
    written = folder / "buf.gen.yaml"
    written.write_text(template, encoding="utf-8")
    arguments = ("generate", "--template", str(written), "--output", str(folder))
    programs.run(programs.ROOT, "buf", *arguments)
    return folder / "gen"


def files(folder: Path) -> set[str]:
    """The names of the files in a folder and the folders in it."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}


def test_the_go_code_is_that_of_the_go_client(generated: Path) -> None:
    made, used = generated / "go", programs.GO / "gen"

    assert files(made) == files(used)
    for name in files(made):
        assert (made / name).read_bytes() == (used / name).read_bytes(), name


def test_the_typescript_code_has_no_type_error(generated: Path) -> None:
    made = sorted(files(generated / "ts"))
    assert made == sorted(
        [*(f"backlane/v1/{name}_pb.ts" for name in NAMES), "google/rpc/status_pb.ts"]
    )
    (generated / "ts" / "node_modules").symlink_to(programs.NODE / "node_modules")
    options = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext")
    run = subprocess.run(
        [str(programs.NPM_BIN / "tsc"), *options, "--moduleResolution", "bundler", *made],
        check=False,
        capture_output=True,
        cwd=generated / "ts",
        env=programs.environment(),
        text=True,
        timeout=programs.BUILD_TIMEOUT_S,
    )

    assert (run.stdout, run.returncode) == ("", 0)


def test_there_are_classes_for_java_and_csharp(generated: Path) -> None:
    java = {
        "AdminServiceOuterClass.java",
        "ExecutionOuterClass.java",
        "ExecutionServiceOuterClass.java",
        "Explanation.java",
        "WorkerServiceOuterClass.java",
    }

    assert {f"backlane/v1/{name}" for name in java} < files(generated / "java")
    services = {"AdminService.cs", "ExecutionService.cs", "WorkerService.cs"}
    sharp = {"Execution.cs", "Explanation.cs", "Status.cs", *services}
    assert sharp == files(generated / "csharp")


def test_there_are_modules_for_python(generated: Path) -> None:
    assert {f"backlane/v1/{name}_pb2.py" for name in NAMES} == files(generated / "python")


def test_the_command_for_python_makes_the_stubs_as_well(tmp_path: Path) -> None:
    generate.install_protoc()
    [command] = re.findall(r"`python (-m grpc_tools\.protoc .*?)`", PAGE)
    (tmp_path / "gen").mkdir()
    (tmp_path / "proto").symlink_to(generate.PROTO)
    subprocess.run(
        [sys.executable, *shlex.split(command)],
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(generate.PROTOC_HOME)},
        timeout=programs.BUILD_TIMEOUT_S,
    )
    endings = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")

    assert files(tmp_path / "gen") == {
        f"backlane/v1/{name}{ending}" for name in NAMES for ending in endings
    }


def test_rust_needs_no_protoc() -> None:
    assert "core_rs/wire/build.rs" in PAGE
    build = (programs.ROOT / "core_rs" / "wire" / "build.rs").read_text(encoding="utf-8")
    assert "protox::compile" in build
