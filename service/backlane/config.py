"""Owns the server's settings: one frozen object, merged from flags, environment and defaults.

A flag wins over its `BACKLANE_*` variable, which wins over the default. All problems are reported
together, one line each, and every line names the flag or the variable that has the bad value.
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
"""The most bytes of all parts of a record together, since gRPC clients take 4 MB by default."""

CLOCK_AHEAD_MAX: Final = timedelta(days=50 * 365)
"""The furthest that the core lets a test clock be ahead."""


class Limit(NamedTuple):
    """A limit of the engine: its default, its largest value, and what it limits."""

    default: int
    most: int
    meaning: str


LIMITS: Final[Mapping[str, Limit]] = {
    "max_input_bytes": Limit(MEBIBYTE, 3 * MEBIBYTE, "an execution's input"),
    "max_output_bytes": Limit(MEBIBYTE, 3 * MEBIBYTE, "an execution's output, encoded"),
    "max_context_bytes": Limit(64 * 1024, MEBIBYTE, "an execution's context, encoded"),
    "max_metadata_bytes": Limit(64 * 1024, MEBIBYTE, "an execution's metadata, encoded"),
    "max_error_message_bytes": Limit(8 * 1024, 64 * 1024, "an error's message, cut if longer"),
    "max_details_bytes": Limit(64 * 1024, MEBIBYTE, "an error's details, encoded"),
    # A level of JSON is three nested messages, and protobuf decoders take a hundred.
    "max_json_depth": Limit(24, 30, "levels of nested JSON"),
    "max_batch_items": Limit(10_000, 100_000, "executions in one batch"),
    "max_batch_bytes": Limit(16 * MEBIBYTE, 19 * MEBIBYTE, "one batch, encoded"),
    "max_lease_items": Limit(1_000, 10_000, "leases in one request"),
    "max_queue_per_tenant": Limit(10_000_000, 1_000_000_000, "unfinished executions of a tenant"),
    "max_page": Limit(1_000, 10_000, "executions on one page"),
}
"""The engine's limits. A limit that is not set keeps the engine's default."""

_PORT_MAX: Final = 65535
_DURATION = re.compile(r"(?P<number>\d+)(?P<unit>ms|s|m|h|d)")
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def duration_text(length: timedelta) -> str:
    """Write a duration as the settings take it, in the largest unit that divides it."""
    unit = next(unit for unit in reversed(_UNITS) if not length % _UNITS[unit])
    return f"{length // _UNITS[unit]}{unit}" if length else "0s"


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


def _at_least(least: timedelta) -> AfterValidator:
    """Refuse a shorter duration; pydantic's own bounds would name it as `datetime.timedelta`."""

    def check(length: timedelta) -> timedelta:
        if length < least:
            raise ValueError(f"must be at least {duration_text(least)}")
        return length

    return AfterValidator(check)


def _at_most(most: timedelta) -> AfterValidator:
    def check(length: timedelta) -> timedelta:
        if length > most:
            raise ValueError(f"must be at most {duration_text(most)}")
        return length

    return AfterValidator(check)


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    is_bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not host or is_bare_ipv6:
        raise ValueError("is not HOST:PORT, such as 127.0.0.1:7433 or [::1]:7433")
    if not (port.isascii() and port.isdigit() and int(port) <= _PORT_MAX):
        raise ValueError("has no port from 0 to 65535")
    return value


def _limits(value: object) -> object:
    """Turn a list of `name=number` items, or a text with commas between them, into a mapping."""
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
            problems.append(f"{name} is not a limit; the limits are {', '.join(LIMITS)}")
        elif not 1 <= number <= limit.most:
            problems.append(f"{name} must be from 1 to {limit.most}, not {number}")
    if problems:
        raise ValueError("; ".join(problems))
    return value


def _lower(given: object) -> object:
    return given.lower() if isinstance(given, str) else given


Duration = Annotated[timedelta, BeforeValidator(_duration), _at_least(timedelta(0))]
Limits = Annotated[dict[str, int], BeforeValidator(_limits), AfterValidator(_known_limits)]


class Config(BaseModel):
    """The server's settings. Field `max_streams` is `--max-streams` and `BACKLANE_MAX_STREAMS`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(
        default="./backlane-data",
        min_length=1,
        description="The data directory; created if it is missing.",
    )
    memory: bool = Field(
        default=False, description="Keep all data in memory; it is lost when the server stops."
    )
    listen: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1:7433",
        description="The address to listen on; with port 0 the system chooses a free port.",
    )
    limits: Limits = Field(
        default_factory=dict, description="Change one of the engine's limits; may be repeated."
    )
    retention: Annotated[Duration, _at_least(timedelta(seconds=1))] = Field(
        default=timedelta(days=7),
        description="How long a finished execution is kept, such as 12h or 7d.",
    )
    max_streams: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="The most streams open at once; each worker has one.",
    )
    max_in_flight: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="The most other calls in flight at once, including calls that wait.",
    )
    drain_grace: Annotated[Duration, _at_most(timedelta(hours=1))] = Field(
        default=timedelta(seconds=10),
        description="How long the server, when it stops, waits for open calls and streams to end.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        Field(
            default="info",
            description="The least severe messages to log: debug, info, warning or error.",
        )
    )
    accept_loss: bool = Field(
        default=False,
        description="Start even if the end of the log is missing, and give up the missing part.",
    )
    test_clock: Annotated[Duration, _at_most(CLOCK_AHEAD_MAX)] | None = Field(
        default=None,
        description="For tests: run on a clock that is this far ahead of the machine's clock, such "
        "as 0s or 2h; each line `advance MILLISECONDS` on stdin moves it further ahead.",
    )

    @property
    def store(self) -> str | None:
        """The data directory, or None if all data stays in memory."""
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
                f"{', '.join(names)} add up to {total} bytes, but a record has to fit into one "
                f"reply: lower some of them, to {RECORD_BYTES_MAX} bytes in total"
            )
        return self


_REASONS: Final = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "int_parsing": "is not a whole number",
    "bool_parsing": "is neither yes nor no",
    "string_too_short": "must not be empty",
    "string_unicode": "is not UTF-8",
}
"""What is wrong with a value, by pydantic's type of error, where its own words are unclear."""


class ConfigError(Exception):
    """Settings that cannot be used.

    Attributes:
        problems: one line for each problem.
    """

    def __init__(self, problems: list[str]) -> None:
        """Make an error of all the problems that were found."""
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        """Return all the problems."""
        return "\n".join(self.problems)


def load_config(flags: Mapping[str, object], environ: Mapping[str, str]) -> Config:
    """Merge flags, environment and defaults.

    Args:
        flags: values by field name; None for a flag that was not given.
        environ: the environment variables; an empty one counts as not set.

    Raises:
        ConfigError: one or more values cannot be used.
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
            problems.append(f"{' and '.join(names)} exclude each other: remove one of them")
    merged: dict[str, object] = {**env, **given}
    if "limits" in env and "limits" in given:
        # Merged by name: `--limit` replaces the limit that it names and leaves the others.
        merged["limits"] = {**_mapping(env["limits"]), **_mapping(given["limits"])}
    config = None
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        problems += [_line(problem, merged, given) for problem in error.errors()]
    if config is None or problems:
        raise ConfigError(problems)
    return config


def env_name(field: str) -> str:
    """Return the environment variable of a field."""
    return ENV_PREFIX + field.upper()


def flag_name(field: str) -> str:
    """Return the flag of a field. `--limit` takes one limit at a time."""
    return "--limit" if field == "limits" else "--" + field.replace("_", "-")


def _origin(field: str, flags: Mapping[str, object]) -> str:
    return flag_name(field) if field in flags else env_name(field)


def _mapping(value: object) -> dict[str, Any]:
    read = _limits(value)
    return read if isinstance(read, dict) else {}


def _line(problem: ErrorDetails, merged: Mapping[str, object], flags: Mapping[str, object]) -> str:
    """Describe a problem that pydantic found in one line that names the flag or variable."""
    if not problem["loc"]:  # The one rule about several fields is about limits.
        return f"{_origin('limits', flags)}: {_reason(problem)}"
    field, *inner = problem["loc"]
    where = " ".join([_origin(str(field), flags), *map(str, inner)])
    if field == "limits" and not inner:
        return f"{where}: {_reason(problem)}"
    # As it was given: pydantic's own `input` may be the timedelta that the text was read as.
    given = problem["input"] if inner else merged[str(field)]
    return f"{where}: {given!r} {_reason(problem)}"


def _reason(problem: ErrorDetails) -> str:
    bounds = problem.get("ctx", {})
    if problem["type"] in _REASONS:
        return _REASONS[problem["type"]].format(**bounds)
    reason = problem["msg"].removeprefix("Value error, ")
    return re.sub(r"^(Input|String|Value) should", "must", reason)
