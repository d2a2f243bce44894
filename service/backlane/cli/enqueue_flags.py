"""Owns the options of an enqueue, which `enqueue` and `run` share."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar, cast

import typer

from backlane.cli.durations import read_duration, read_instant
from backlane.cli.options import option
from backlane.schema.options import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backlane.schema.options import EnqueueOptions

T = TypeVar("T")

_INSTANT = "an instant such as 2026-01-31T08:00:00Z, or a duration from now"
_RETRIES = "Retries"
_RETRY_FLAGS = {
    "max_attempts": "--max-attempts",
    "strategy": "--retry-strategy",
    "initial_delay": "--retry-delay",
    "max_delay": "--max-retry-delay",
}
_KEYS = "Repeated enqueues, context and metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueFlags:
    """The options of an enqueue as they were typed; None for an option that was not given."""

    priority: Annotated[
        int | None,
        option(
            "--priority",
            "From 0 to 255; a higher priority runs sooner.",
            default="50",
            metavar="NUMBER",
            min=0,
            max=255,
        ),
    ] = None
    timeout: Annotated[
        str | None,
        option(
            "--timeout",
            "The longest that one attempt may run, such as 90s.",
            default="5m",
            metavar="DURATION",
        ),
    ] = None
    delay: Annotated[
        str | None,
        option("--delay", "Do not run it before this time has passed.", metavar="DURATION"),
    ] = None
    not_before: Annotated[
        str | None,
        option("--not-before", f"Do not run it before this time: {_INSTANT}.", metavar="INSTANT"),
    ] = None
    start_deadline: Annotated[
        str | None,
        option(
            "--start-deadline",
            f"End it with status timeout unless it has started by then: {_INSTANT}.",
            metavar="INSTANT",
        ),
    ] = None
    deadline: Annotated[
        str | None,
        option(
            "--deadline",
            f"End it with status timeout unless it has finished by then: {_INSTANT}.",
            metavar="INSTANT",
        ),
    ] = None
    after: Annotated[
        list[str] | None,
        option(
            "--after",
            "Run it once this execution has completed; may be repeated.",
            metavar="ID",
        ),
    ] = None
    max_attempts: Annotated[
        int | None,
        option(
            "--max-attempts",
            "How many attempts may fail or time out, including the first.",
            default="1; 3 with any other retry option",
            metavar="NUMBER",
            rich_help_panel=_RETRIES,
            min=1,
        ),
    ] = None
    retry_delay: Annotated[
        str | None,
        option(
            "--retry-delay",
            "The delay after the first failed attempt.",
            default="1s",
            metavar="DURATION",
            rich_help_panel=_RETRIES,
        ),
    ] = None
    retry_strategy: Annotated[
        Literal["fixed", "linear", "exponential"] | None,
        option(
            "--retry-strategy",
            "How the delay grows: fixed, linear, or exponential, which doubles it.",
            default="exponential",
            metavar="STRATEGY",
            rich_help_panel=_RETRIES,
        ),
    ] = None
    max_retry_delay: Annotated[
        str | None,
        option(
            "--max-retry-delay",
            "The longest delay between two attempts.",
            default="1m",
            metavar="DURATION",
            rich_help_panel=_RETRIES,
        ),
    ] = None
    max_worker_losses: Annotated[
        int | None,
        option(
            "--max-worker-losses",
            "Fail it when its worker was lost this many times; 1 runs it at most once.",
            default="3",
            metavar="NUMBER",
            rich_help_panel=_RETRIES,
            min=1,
        ),
    ] = None
    request_id: Annotated[
        str | None,
        option(
            "--request-id",
            "Enqueues with the same id within 24 hours make one execution.",
            default="a new one",
            metavar="ID",
            rich_help_panel=_KEYS,
        ),
    ] = None
    dedup_key: Annotated[
        str | None,
        option(
            "--dedup-key",
            "The tenant has at most one unfinished execution with this key.",
            metavar="KEY",
            rich_help_panel=_KEYS,
        ),
    ] = None
    dedup_policy: Annotated[
        Literal["return_existing", "reject", "replace_queued"] | None,
        option(
            "--dedup-policy",
            "What to do if there is one already: return_existing, reject or replace_queued.",
            default="return_existing",
            metavar="POLICY",
            rich_help_panel=_KEYS,
        ),
    ] = None
    cancellation_policy: Annotated[
        Literal["cascade_cancel", "wait_for_children", "detach"] | None,
        option(
            "--cancellation-policy",
            "What happens to its unfinished children when it fails, is cancelled or times out: "
            "cascade_cancel cancels them, wait_for_children has it end after them, and detach lets "
            "them go on.",
            default="cascade_cancel",
            metavar="POLICY",
        ),
    ] = None
    context: Annotated[
        list[str] | None,
        option(
            "--context",
            "A text to pass to the worker; may be repeated.",
            metavar="KEY=TEXT",
            rich_help_panel=_KEYS,
        ),
    ] = None
    metadata: Annotated[
        list[str] | None,
        option(
            "--metadata",
            "A JSON value to pass to the worker; may be repeated.",
            metavar="KEY=JSON",
            rich_help_panel=_KEYS,
        ),
    ] = None

    def to_options(self) -> EnqueueOptions:
        """Return the given options in the form that the client takes.

        Raises:
            typer.BadParameter: an option has a value that cannot be used.
        """
        if self.delay is not None and self.not_before is not None:
            raise typer.BadParameter(
                "it cannot be combined with --not-before", param_hint="--delay"
            )
        for flag in fields(self):
            if getattr(self, flag.name) == "":
                # Most likely an unset shell variable, which would silently mean something else.
                name = f"--{flag.name.replace('_', '-')}"
                raise typer.BadParameter("it must not be empty", param_hint=name)
        given: dict[str, Any] = {
            "priority": self.priority,
            "timeout": _read(read_duration, "--timeout", self.timeout),
            "retry": self._retry(),
            "delay": _read(read_duration, "--delay", self.delay),
            "not_before": _read(read_instant, "--not-before", self.not_before),
            "start_deadline": _read(read_instant, "--start-deadline", self.start_deadline),
            "deadline": _read(read_instant, "--deadline", self.deadline),
            "after": self.after or None,
            "max_worker_losses": self.max_worker_losses,
            "request_id": self.request_id,
            "dedup_key": self.dedup_key,
            "dedup_policy": self.dedup_policy,
            "cancellation_policy": self.cancellation_policy,
            "context": dict(_pairs("--context", self.context)) or None,
            "metadata": _metadata(self.metadata) or None,
        }
        options = {name: value for name, value in given.items() if value is not None}
        return cast("EnqueueOptions", options)

    def _retry(self) -> Retry | None:
        """Return the retry rule if any of its options was given."""
        initial = _read(read_duration, "--retry-delay", self.retry_delay)
        longest = _read(read_duration, "--max-retry-delay", self.max_retry_delay)
        given: dict[str, Any] = {
            "max_attempts": self.max_attempts,
            "strategy": self.retry_strategy,
            "initial_delay": initial and initial.total_seconds(),
            "max_delay": longest and longest.total_seconds(),
        }
        rule = {name: value for name, value in given.items() if value is not None}
        try:
            return Retry(**rule) if rule else None
        except ValueError as error:
            reason = str(error)
            for name, flag in _RETRY_FLAGS.items():
                reason = reason.replace(name, flag)
            given_flags = " and ".join(_RETRY_FLAGS[name] for name in rule)
            raise typer.BadParameter(reason, param_hint=given_flags) from None


def _read(read: Callable[[str, str], T], flag: str, text: str | None) -> T | None:
    return None if text is None else read(flag, text)


def _pairs(flag: str, given: Sequence[str] | None) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for part in given or ():
        key, equals, text = part.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{part!r} is not KEY=VALUE", param_hint=flag)
        if key in dict(pairs):
            raise typer.BadParameter(f"{key} is given twice", param_hint=flag)
        pairs.append((key, text))
    return pairs


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _metadata(given: Sequence[str] | None) -> dict[str, object]:
    values = {}
    for key, text in _pairs("--metadata", given):
        try:
            values[key] = json.loads(text, parse_constant=_refuse)
        except ValueError:
            raise typer.BadParameter(
                f"{key}: {text!r} is not JSON; a string has quotes, as in '{key}=\"{text}\"'",
                param_hint="--metadata",
            ) from None
    return values
