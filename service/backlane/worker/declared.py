"""Owns declared callables: the name and the types of a function that another program offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar, overload

from backlane.worker.callable import BackgroundCallable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from backlane.schema.options import EnqueueOptions, Retry

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class DeclaredCallable(BackgroundCallable[P, R_co]):
    """A callable without its code. Calling it raises a `TypeError`; enqueue it instead."""

    def __repr__(self) -> str:
        """Return the name."""
        return f"<declared callable {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:  # noqa: ARG002  # the types
        """Refuse: the code is in another program.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"{self.name} is declared here and its code is elsewhere: enqueue it with a client"
        )


class _Declare(Protocol):
    """Turns a signature into a declared callable."""

    def __call__(self, signature: Callable[P, R], /) -> DeclaredCallable[P, R]: ...


@overload
def declare(signature: Callable[P, R], /) -> DeclaredCallable[P, R]: ...
@overload
def declare(
    signature: None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: float | timedelta | None = None,
    priority: int | None = None,
) -> _Declare: ...
def declare(  # one for each option
    signature: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: float | timedelta | None = None,
    priority: int | None = None,
) -> DeclaredCallable[P, R] | _Declare:
    """Declare a callable whose code is in another repository, by its signature.

    A decorator, with or without parentheses. What it returns is given to a client in place of the
    name: its input and its output are typed, and its options are the defaults of each enqueue.
    The function's body is never run; type checkers want one that raises.

    Args:
        signature: the function, if the decorator is used without parentheses.
        name: the callable's name; the function's name by default.
        retry: the rule for retries; by default there are none.
        timeout: the longest that one attempt may run, in seconds.
        priority: from 0 to 255; a higher priority runs sooner.

    Raises:
        CallableError: a callable cannot have this signature.
        ValueError: an option is out of its range; the message names it.

    Example:
        @declare(name="mail.send", priority=90)
        def send(to: str) -> int:
            raise NotImplementedError

        with Client() as client:
            assert client.enqueue(send, "ada").get().callable_name == "mail.send"
    """
    given = {"retry": retry, "timeout": timeout, "priority": priority}
    defaults: EnqueueOptions = {  # type: ignore[assignment]  # the keys are its own
        key: value for key, value in given.items() if value is not None
    }

    def made(signature: Callable[P, R], /) -> DeclaredCallable[P, R]:
        return DeclaredCallable(signature, name=name, defaults=defaults)

    return made if signature is None else made(signature)  # type: ignore[return-value]
