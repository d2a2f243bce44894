"""Owns the server's settings: one frozen object, merged from flags, environment and defaults.

A flag wins over its `BACKLANE_*` variable, which wins over the default. Every problem is found in
one go, each as one line that names the flag or the variable it came from.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

ENV_PREFIX: Final = "BACKLANE_"
MEBIBYTE: Final = 1024 * 1024
RECORD_BYTES_MAX: Final = 3_800_000
"""What a record's parts may come to, since gRPC clients take 4 MB by default."""

CLOCK_AHEAD_MAX: Final = timedelta(days=50 * 365)
"""How far the core lets a test clock be ahead."""


class Limit(NamedTuple):
    """One limit of the engine: its default, its largest value, and what it bounds."""

    default: int
    most: int
    meaning: str


LIMITS: Final[Mapping[str, Limit]] = {
    "max_input_bytes": Limit(MEBIBYTE, 3 * MEBIBYTE, "an execution's input"),
    "max_output_bytes": Limit(MEBIBYTE, 3 * MEBIBYTE, "an execution's output, encoded"),
    "max_context_bytes": Limit(64 * 1024, MEBIBYTE, "an execution's context, encoded"),
    "max_metadata_bytes": Limit(64 * 1024, MEBIBYTE, "an execution's metadata, encoded"),
    "max_error_message_bytes": Limit(8 * 1024, 64 * 1024, "an error's message; the rest is cut"),
    "max_details_bytes": Limit(64 * 1024, MEBIBYTE, "an error's details, encoded"),
    # Three messages a level, of the hundred that protobuf decoders go down.
    "max_json_depth": Limit(24, 30, "levels of nested JSON"),
    "max_batch_items": Limit(10_000, 100_000, "items of one batch"),
    "max_batch_bytes": Limit(16 * MEBIBYTE, 19 * MEBIBYTE, "one batch, encoded"),
    "max_lease_items": Limit(1_000, 10_000, "items of one call on leases"),
    "max_queue_per_tenant": Limit(10_000_000, 1_000_000_000, "unfinished executions of a tenant"),
    "max_page": Limit(1_000, 10_000, "items of one page"),
}
"""The engine's limits. Where none is set here, the engine's own defaults apply."""

_PORT_MAX: Final = 65535
_DURATION = re.compile(r"(?P<number>\d+)(?P<unit>ms|s|m|h|d)")
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def _duration(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError("is not a number with a unit, such as 500ms, 10s, 5m, 12h or 7d")
    try:
        return int(match["number"]) * _UNITS[match["unit"]]
    except OverflowError:
        raise ValueError("is too long") from None


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    is_bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not host or is_bare_ipv6:
        raise ValueError("is not HOST:PORT, such as 127.0.0.1:7433 or [::1]:7433")
    if not (port.isascii() and port.isdigit() and int(port) <= _PORT_MAX):
        raise ValueError("has no port from 0 to 65535")
    return value


def _limits(value: object) -> object:
    """Read `name=number` items, of a list or separated by commas, where it is not a mapping."""
    if isinstance(value, str):
        value = [item for item in value.split(",") if item.strip()]
    if not isinstance(value, list):
        return value
    pairs = [item.partition("=") for item in value]
    return {name.strip(): number.strip() for name, _, number in pairs}


def _known_limits(value: dict[str, int]) -> dict[str, int]:
    problems = []
    for name, number in value.items():
        limit = LIMITS.get(name)
        if limit is None:
            problems.append(f"{name} is no limit; there are {', '.join(LIMITS)}")
        elif not 1 <= number <= limit.most:
            problems.append(f"{name} must be from 1 to {limit.most}, not {number}")
    if problems:
        raise ValueError("; ".join(problems))
    return value


def _lower(given: object) -> object:
    return given.lower() if isinstance(given, str) else given


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0))]
Limits = Annotated[dict[str, int], BeforeValidator(_limits), AfterValidator(_known_limits)]


class Config(BaseModel):
    """The server's settings. A field `max_streams` is `--max-streams`, `BACKLANE_MAX_STREAMS`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(
        default="./backlane-data",
        min_length=1,
        description="Data directory, made where it is missing.",
    )
    memory: bool = Field(
        default=False, description="Keep everything in memory; all is lost at the end."
    )
    listen: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1:7433",
        description="HOST:PORT to listen on; port 0 lets the system choose.",
    )
    limits: Limits = Field(
        default_factory=dict, description="A limit other than the engine's own; may be repeated."
    )
    retention: Duration = Field(
        default=timedelta(days=7),
        ge=timedelta(seconds=1),
        description="How long finished executions are kept, such as 12h or 7d.",
    )
    max_streams: int = Field(
        default=1_000, ge=1, le=100_000, description="Streams open at once, a worker's being one."
    )
    max_in_flight: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Other calls in flight at once, waiting ones too.",
    )
    drain_grace: Duration = Field(
        default=timedelta(seconds=10),
        le=timedelta(hours=1),
        description="How long a stop waits for calls and streams to end, such as 10s.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        Field(
            default="info",
            description="Least severe messages logged: debug, info, warning or error.",
        )
    )
    accept_loss: bool = Field(
        default=False,
        description="Start although the end of the log is missing, and give that up for lost.",
    )
    test_clock: Duration | None = Field(
        default=None,
        le=CLOCK_AHEAD_MAX,
        description="For tests: run on a clock that is so far ahead of the machine's, such as 0s "
        "or 2h, and that each line `advance MILLISECONDS` on stdin moves further.",
    )

    @property
    def store(self) -> str | None:
        """The data directory, or None where everything stays in memory."""
        return None if self.memory else self.data

    @property
    def host(self) -> str:
        """The host part of `listen`, without the brackets of an IPv6 address."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port part of `listen`."""
        return int(self.listen.rpartition(":")[2])

    @model_validator(mode="after")
    def _records_fit_an_answer(self) -> Self:
        parts = ("input", "output", "context", "metadata", "details", "error_message")
        names = [f"max_{part}_bytes" for part in parts]
        total = sum(self.limits.get(name, LIMITS[name].default) for name in names)
        if total > RECORD_BYTES_MAX:
            raise ValueError(
                f"{', '.join(names)} come to {total} bytes together, but a record has to "
                f"fit an answer and may have {RECORD_BYTES_MAX}"
            )
        return self


class ConfigError(Exception):
    """Settings that cannot be used.

    Attributes:
        problems: one line for each thing that is wrong.
    """

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems, all of them."""
        super().__init__("\n".join(problems))
        self.problems = problems


def load_config(flags: Mapping[str, object], environ: Mapping[str, str]) -> Config:
    """Merge flags, environment and defaults.

    Args:
        flags: values by field name, None where a flag was not given.
        environ: the environment; an empty variable counts as absent.

    Raises:
        ConfigError: some values cannot be used.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    found = {name: environ.get(env_name(name)) for name in Config.model_fields}
    env: dict[str, Any] = {name: value for name, value in found.items() if value}
    problems = []
    if "data" in given and "memory" not in given:
        env.pop("memory", None)
    for source in (given, env):
        if source.get("memory") and "data" in source:
            names = [_origin(field, given) for field in ("memory", "data")]
            problems.append(f"{' and '.join(names)} exclude each other")
    merged: dict[str, object] = {**env, **given}
    if "limits" in env and "limits" in given:
        # By name, so that a flag replaces its own limit and leaves the others.
        merged["limits"] = {**_mapping(env["limits"]), **_mapping(given["limits"])}
    config = None
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        problems += [_line(problem, given) for problem in error.errors()]
    if config is None or problems:
        raise ConfigError(problems)
    return config


def env_name(field: str) -> str:
    """Return the environment variable of a field."""
    return ENV_PREFIX + field.upper()


def flag_name(field: str) -> str:
    """Return the flag of a field; limits are given one by one."""
    return "--limit" if field == "limits" else "--" + field.replace("_", "-")


def _origin(field: str, flags: Mapping[str, object]) -> str:
    return flag_name(field) if field in flags else env_name(field)


def _mapping(value: object) -> dict[str, Any]:
    read = _limits(value)
    return read if isinstance(read, dict) else {}


def _line(problem: ErrorDetails, flags: Mapping[str, object]) -> str:
    """Say in one line what pydantic found, and where it came from."""
    reason = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # The one rule about several fields is about limits.
        return f"{_origin('limits', flags)}: {reason}"
    field, *inner = problem["loc"]
    where = " ".join([_origin(str(field), flags), *map(str, inner)])
    if field == "limits" and not inner:
        return f"{where}: {reason}"
    return f"{where}: {problem['input']!r} {_as_predicate(reason)}"


def _as_predicate(reason: str) -> str:
    return re.sub(r"^(Input|String|Value) should", "should", reason)
