"""Owns the exceptions that a callable raises to describe its own failure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from backlane.schema.ranges import check
from backlane.v1 import execution_pb2 as records

if TYPE_CHECKING:
    from backlane.schema.options import Category


class Failure(Exception):  # noqa: N818  # it is raised to fail, and is no fault of the program
    """Raise this in a callable to fail its attempt with a category, a code and details.

    Attributes:
        category: the kind of the error; fatal categories are never retried.
        code: a short name for programs, such as `rate_limit`.
        retryable: False ends the execution whatever its retry rule says; None leaves the decision
            to the rule.
        retry_after: the time until the next attempt, in the place of the rule's delay.
        details: any JSON of at most 64 KiB and 24 levels; larger details are left out.
        provider: the service that was called.
        http_status: the HTTP status of its reply, from 100 to 599.

    A failure inside an `ExceptionGroup` keeps its meaning. A failure that is only the cause of
    another exception (`raise ... from failure`) does not count: what was raised last decides.

    Example:
        worker = Worker()

        @worker.callable
        def fetch(url: str) -> str:
            raise Failure("gone", category="network_error", http_status=410, retryable=False)

        with worker.running(), Client() as client:
            failed = client.enqueue(fetch, "https://example.com").wait()
            assert failed.status == "failed"
    """

    throttled = False

    def __init__(  # noqa: PLR0913  # one for each field of an error
        self,
        message: str,
        *,
        category: Category = "tool_error",
        code: str | None = None,
        retryable: bool | None = None,
        retry_after: float | timedelta | None = None,
        details: object = None,
        provider: str | None = None,
        http_status: int | None = None,
    ) -> None:
        """Describe the failure.

        Raises:
            ValueError: the category is unknown, `retry_after` is not from 0 to 86400 seconds, or
                `http_status` is not from 100 to 599.
            TypeError: an argument has a wrong type; the message names it.
        """
        # Often an exception is passed as the message.
        self.message = str(message)
        super().__init__(self.message)
        number_of(category)
        _check_type("code", code, str)
        _check_type("retryable", retryable, bool)
        _check_type("provider", provider, str)
        if http_status is not None:
            check("http_status", http_status)
        self.category = category
        self.code = code
        self.retryable = retryable
        self.retry_after = None if retry_after is None else _delay(retry_after)
        self.details = details
        self.provider = provider
        self.http_status = http_status

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the attributes; a subclass may have a constructor with other parameters."""
        return _bare, (type(self), self.args), dict(vars(self))


class Throttled(Failure):
    """Raise this to try again later, whatever the retry rule says. No attempt is spent."""

    throttled = True

    def __init__(
        self, message: str = "throttled", *, retry_after: float | timedelta, code: str | None = None
    ) -> None:
        """Describe it; `retry_after` is the time until the next try, at most 86400 seconds."""
        super().__init__(message, code=code, retry_after=retry_after)


def number_of(category: Category) -> records.ErrorCategory.ValueType:
    """Return the number of a category in the protocol.

    Raises:
        ValueError: there is no such category.
    """
    try:
        return records.ErrorCategory.Value(f"ERROR_CATEGORY_{category.upper()}")
    except (ValueError, AttributeError):
        known = ", ".join(name[15:].lower() for name in records.ErrorCategory.keys()[1:])
        raise ValueError(f"category {category!r} is not one of {known}") from None


def _bare(kind: type[Failure], arguments: tuple[object, ...]) -> Failure:
    """Make a failure without its attributes, which are unpickled afterwards."""
    return kind.__new__(kind, *arguments)


def _delay(given: float | timedelta) -> timedelta:
    check("retry_after", given)
    return given if isinstance(given, timedelta) else timedelta(seconds=given)


def _check_type(name: str, given: object, kind: type) -> None:
    if given is not None and not isinstance(given, kind):
        raise TypeError(f"{name} must be of type {kind.__name__} or None, not {given!r}")
