"""Command lines that cannot be used: each is one line on stderr, and status 2."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import Final

import pytest

from backlane.cli.folders import path_problem
from backlane.cli.main import run

DURATIONS: Final = "is not a number with a unit, such as 500ms, 10s, 5m, 12h or 7d"
HOST_PORT: Final = "is not HOST:PORT, such as 127.0.0.1:7433"

REFUSED: Final = {
    "get": "missing argument 'ID'",
    "attempts": "missing argument 'ID'",
    "task": "missing argument 'ID'",
    "discard": "missing argument 'ID...'",
    "redrive a --request-id ''": "invalid value for --request-id: it must not be empty",
    "redrive a --max-attempts 5000000000": (
        "invalid value for --max-attempts: --max-attempts must be from 1 to 65535, not 5000000000"
    ),
    "redrive": (
        "invalid value for ID: name one execution, or choose dead letters with --callable, "
        "--status, --since or --until, or take --all"
    ),
    "redrive a --callable b": (
        "invalid value for --callable: it is for many executions, without an ID"
    ),
    "redrive a --dry-run": "invalid value for --dry-run: it is for many executions, without an ID",
    "redrive --all --input 1": "invalid value for --input: it needs the ID of one execution",
    "redrive --all --request-id r": (
        "invalid value for --request-id: it needs the ID of one execution"
    ),
    "redrive --all --rate 0": "invalid value for --rate: '0' is no rate, such as 20/s or 0.5/s",
    "redrive --all --rate 5/m": "invalid value for --rate: '5/m' is no rate, such as 20/s or 0.5/s",
    "redrive --since 2026-01-31": (
        "invalid value for --since: '2026-01-31' needs a time zone, such as Z"
    ),
    "redrive --until soon": (
        "invalid value for --until: 'soon' is neither an instant, such as 2026-01-31T08:00:00Z, "
        "nor how long ago it was, such as 10m"
    ),
    "redrive a --timeout 3": f"invalid value for --timeout: '3' {DURATIONS}",
    "dead-letters --limit -1": (
        "invalid value for '--limit': Input should be greater than or equal to 0"
    ),
    "get a b": "got unexpected extra argument(s) (b)",
    "stats --all": "no such option: --all",
    "list --limit -1": "invalid value for '--limit': Input should be greater than or equal to 0",
    "peek --limit many": (
        "invalid value for '--limit': Input should be a valid integer, unable to parse string as "
        "an integer"
    ),
    "list --status done": (
        "invalid value for '--status': 'done' is not one of 'queued', 'running', 'completed', "
        "'failed', 'cancelled', 'timeout'"
    ),
    "stats --target localhost": f"invalid value for --target: 'localhost' {HOST_PORT}",
    "stats --target http://a:1": f"invalid value for --target: 'http://a:1' {HOST_PORT}",
    "stats --target a:72969": f"invalid value for --target: 'a:72969' {HOST_PORT}",
    "stats --target ::1:7433": f"invalid value for --target: '::1:7433' {HOST_PORT}",
    "run greet --wait 3": f"invalid value for --wait: '3' {DURATIONS}",
    "enqueue greet --priority 256": (
        "invalid value for '--priority': Input should be less than or equal to 255"
    ),
    "enqueue greet --timeout -3s": f"invalid value for --timeout: '-3s' {DURATIONS}",
    "enqueue greet --delay 1s --not-before 1s": (
        "invalid value for --delay: it cannot be combined with --not-before"
    ),
    "enqueue greet --retry-delay 5m": (
        "invalid value for --retry-delay: --retry-delay must be at most --max-retry-delay, which "
        "is 60 seconds, not 300 seconds: raise --max-retry-delay or lower --retry-delay"
    ),
    "enqueue greet --max-attempts 5000000000": (
        "invalid value for --max-attempts: --max-attempts must be from 1 to 65535, not 5000000000"
    ),
    "enqueue greet --deadline soon": (
        "invalid value for --deadline: 'soon' is neither an instant, such as "
        "2026-01-31T08:00:00Z, nor a duration from now, such as 10m"
    ),
    "list --since 9999999d": "invalid value for --since: '9999999d' is too long",
    "redrive --until 9999999d": "invalid value for --until: '9999999d' is too long",
    "count --until 2026-01-31": (
        "invalid value for --until: '2026-01-31' needs a time zone, such as Z"
    ),
    "enqueue greet --deadline 9999999d": "invalid value for --deadline: '9999999d' is too long",
    "enqueue greet --deadline 2026-01-31T08:00:00": (
        "invalid value for --deadline: '2026-01-31T08:00:00' needs a time zone, such as Z"
    ),
    "enqueue greet --context key": "invalid value for --context: 'key' is not KEY=VALUE",
    "enqueue greet --metadata key=text": (
        "invalid value for --metadata: key: 'text' is not JSON; a string has quotes, as in "
        "'key=\"text\"'"
    ),
    "enqueue greet --request-id ''": "invalid value for --request-id: it must not be empty",
    "enqueue greet --context a=1 --context a=2": ("invalid value for --context: a is given twice"),
    "enqueue greet --metadata a=NaN": (
        "invalid value for --metadata: a: 'NaN' is not JSON; a string has quotes, as in 'a=\"NaN\"'"
    ),
    "stats --tenant ''": "invalid value for --tenant: it must not be empty",
    "enqueue greet @": ("invalid value for INPUT: @ needs the name of a file, as in @input.json"),
    "enqueue greet @/nowhere/input": (
        "invalid value for INPUT: '/nowhere/input' cannot be read: No such file or directory"
    ),
    "enqueue greet \udcff": (
        "invalid value for INPUT: it is not UTF-8: invalid start byte at byte 0"
    ),
    "enqueue greet --text": "invalid value for --text: it needs an INPUT",
    "list --tenant \udcff": "invalid value for --tenant: '\\udcff' is not UTF-8",
    "enqueue greet --tenant \udcff": "invalid value for --tenant: '\\udcff' is not UTF-8",
    "wait a b --count 3": "invalid value for --count: 3 is more than the number of ids, 2",
    "wait a a --count 2": "invalid value for --count: 2 is more than the number of ids, 1",
    "wait a --any --count 1": "invalid value for --any: it cannot be combined with --count",
    "worker": "missing argument 'MODULE:WORKER'",
    "worker app --lease soon": f"invalid value for --lease: 'soon' {DURATIONS}",
}


@pytest.mark.parametrize(
    ("line", "problem"),
    REFUSED.items(),
    ids=[line.encode("ascii", "replace").decode() for line in REFUSED],
)
def test_an_argument_that_cannot_be_used_is_one_line(
    capsys: pytest.CaptureFixture[str], line: str, problem: str
) -> None:
    command, *arguments = shlex.split(line)

    status = run([command, *arguments])

    shown = capsys.readouterr()
    assert (status, shown.out) == (2, "")
    assert shown.err == f"backlane: {problem}: see `backlane {command} --help`\n"


def test_a_target_of_the_environment_is_named_by_its_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKLANE_TARGET", "junk")

    assert run(["stats"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("backlane: invalid value for BACKLANE_TARGET: 'junk' is not HOST:PORT")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nope", "no such command 'nope'"),
        ("enqueu", "no such command 'enqueu'. Did you mean 'enqueue'?"),
        ("--nope", "no such option: --nope (options of a command come after its name)"),
    ],
)
def test_a_command_that_there_is_not_is_one_line(
    capsys: pytest.CaptureFixture[str], name: str, problem: str
) -> None:
    status = run([name])

    assert status == 2
    assert capsys.readouterr().err == f"backlane: {problem}: see `backlane --help`\n"


@pytest.mark.parametrize(
    "line", ["get \udcff", "cancel \udcff", "wait a \udcff", "peek --callable \udcff"]
)
def test_an_argument_that_is_not_utf_8_is_one_line(
    capsys: pytest.CaptureFixture[str], line: str
) -> None:
    status = run(line.split())

    assert status == 2
    assert capsys.readouterr().err == "backlane: the argument '\\udcff' is not UTF-8\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("enqueue \udcff", "the callable's name '\\udcff' is not UTF-8"),
        ("run x --request-id \udcff", "request_id '\\udcff' is not UTF-8"),
        ("enqueue x --dedup-key \udcff", "dedup_key '\\udcff' is not UTF-8"),
        ("enqueue x --context a=\udcff", "context {'a': '\\udcff'} is not UTF-8"),
    ],
)
def test_an_option_that_is_not_utf_8_is_blamed_itself(
    capsys: pytest.CaptureFixture[str], line: str, problem: str
) -> None:
    status = run(line.split())

    assert (status, capsys.readouterr().err) == (2, f"backlane: {problem}\n")


def test_a_tenant_of_the_environment_is_named_by_its_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKLANE_TENANT", "\udcff")

    assert run(["list"]) == 2
    assert capsys.readouterr().err == (
        "backlane: invalid value for BACKLANE_TENANT: '\\udcff' is not UTF-8: see "
        "`backlane list --help`\n"
    )


@pytest.mark.parametrize("arguments", [("serve", "--data"), ("check",)])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("dangling", "dangling is a link to {folder}/gone, which does not exist"),
        ("dangling/below/it", "dangling is a link to {folder}/gone, which does not exist"),
        ("astray", "astray is a link to {folder}/file, which is not a directory"),
        ("file", "file is not a directory"),
        ("file/below", "file is not a directory"),
    ],
)
def test_a_path_that_cannot_be_a_directory_is_explained(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    place: str,
    said: str,
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "astray").symlink_to(tmp_path / "file")

    status = run([*arguments, f"{tmp_path}/{place}"])

    shown = capsys.readouterr().err
    assert (status, shown.count("\n")) == (2, 1)
    told = said.format(folder=tmp_path)
    assert shown.endswith(f"directory '{tmp_path}/{place}': {tmp_path}/{told}\n")


def test_a_directory_that_there_is_not_cannot_be_checked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["check", f"{tmp_path}/none"]) == 2
    assert capsys.readouterr().err == f"backlane: there is no directory '{tmp_path}/none'\n"


def test_a_salvage_goes_into_no_dangling_link(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "new").symlink_to(tmp_path / "gone")

    assert run(["check", str(tmp_path), "--salvage", f"{tmp_path}/new"]) == 2
    assert f"new is a link to {tmp_path}/gone, which does not" in capsys.readouterr().err


def test_a_folder_that_can_be_made_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    assert path_problem(tmp_path / "a" / "b") is None
    assert path_problem(tmp_path / "link" / "b") is None
    assert path_problem(Path("not/there")) is None


def test_an_input_from_stdin_that_is_not_utf_8_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9")))

    status = run(["enqueue", "greet", "-"])

    problem = "stdin is not UTF-8: unexpected end of data at byte 3"
    assert status == 2
    assert capsys.readouterr().err == (
        f"backlane: invalid value for INPUT: {problem}: see `backlane enqueue --help`\n"
    )
