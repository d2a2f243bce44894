"""Owns `Worker`: the callables that a program offers, and how it works."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, overload

from backlane.channel import TLS, Endpoint, tenant_or_default
from backlane.worker.callable import BackgroundCallable, CallableError
from backlane.worker.shift import Settings, Shift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import timedelta
    from types import FrameType

    from backlane.schema.options import EnqueueOptions, Retry
    from backlane.worker.stream import Observer

P = ParamSpec("P")
R = TypeVar("R")

CONCURRENCY_DEFAULT: Final = 16
CONCURRENCY_MAX: Final = 5000
"""A stream that opens names at most 10 000 leases, those among them whose results have no answer
yet. A worker with more could never connect again."""
LEASE_DEFAULT_S: Final = 30.0
LEASE_MIN_S: Final = 1.0
LEASE_MAX_S: Final = 3600.0
"""The server's own bounds."""
DRAIN_DEFAULT_S: Final = 30.0
ALL_TENANTS: Final = "*"
LOOK_EVERY_S: Final = 0.2
"""How long a signal may lie unseen, in seconds."""
_NAME: Final = re.compile(r"[A-Za-z0-9._:@/-]{1,128}")
_CALLABLE_NAME: Final = re.compile(r"[A-Za-z0-9._:@/-]{1,256}")


class _Decorator(Protocol):
    """Makes a callable of a function, and keeps its type."""

    def __call__(self, function: Callable[P, R], /) -> BackgroundCallable[P, R]:
        """Make it."""


class Worker:
    """The callables that a program offers. `run` leases executions of them and runs them.

    A worker's liveness is its stream, which has threads of its own: a callable that blocks keeps
    its lease. Async callables share one event loop, plain functions have a thread each.

    Example:
        worker = Worker("greeter")

        @worker.callable
        async def greet(name: str) -> str:
            return f"hello {name}"

        with worker.running(), Client() as client:  # or: worker.run(), until SIGTERM
            assert client.run(greet, "Ada") == "hello Ada"
    """

    def __init__(  # noqa: PLR0913  # one for each setting
        self,
        name: str | None = None,
        *,
        target: str | None = None,
        tenants: Sequence[str] | str | None = None,
        concurrency: int = CONCURRENCY_DEFAULT,
        lease: float = LEASE_DEFAULT_S,
        drain_timeout: float = DRAIN_DEFAULT_S,
        tls: TLS | bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        observe: Observer | None = None,
    ) -> None:
        """Describe a worker; nothing is opened before it runs.

        Args:
            name: its id, as records and logs show it; made of host and process by default, once it
                begins to work.
            target: the server, `HOST:PORT`; `$BACKLANE_TARGET`, else 127.0.0.1:7433.
            tenants: whose executions it runs, `"*"` for all that it may;
                `$BACKLANE_TENANT`, else `default`.
            concurrency: how many executions it runs at once, from 1 to 5000.
            lease: the silence that loses its leases, from 1 to 3600 seconds.
            drain_timeout: how long a drain lets callables run on, in seconds.
            tls: how to speak TLS; True as the system has it, False not at all.
            metadata: headers that go with its stream, such as `authorization`.
            observe: is told each message of results and the server's answer, for audits.

        Raises:
            ValueError: one of them cannot be used; the message names it.
        """
        self._settings = Settings(
            name=name or "",
            endpoint=Endpoint.of(target, tls, metadata),
            tenants=_tenants(tenants),
            concurrency=concurrency,
            lease=lease,
            drain_timeout=drain_timeout,
            observe=observe,
        )
        _check(self._settings)
        self._callables: dict[str, BackgroundCallable[..., Any]] = {}

    @property
    def target(self) -> str:
        """The server it works for, unless a run says otherwise."""
        return self._settings.endpoint.target

    @property
    def callables(self) -> Mapping[str, BackgroundCallable[..., Any]]:
        """What it offers, by name."""
        return dict(self._callables)

    @overload
    def callable(self, function: Callable[P, R], /) -> BackgroundCallable[P, R]: ...
    @overload
    def callable(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        priority: int | None = None,
        concurrency: int | None = None,
    ) -> _Decorator: ...
    def callable(  # one for each option
        self,
        function: Callable[P, R] | None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        priority: int | None = None,
        concurrency: int | None = None,
    ) -> BackgroundCallable[P, R] | _Decorator:
        """Offer a function; a decorator, with and without parentheses.

        The function takes at most one input, the JSON of the enqueue validated to its annotation,
        and `ctx` before it if it names it so. It returns the output. `retry`, `timeout` and
        `priority` go with each enqueue that is made with the callable itself: an enqueue by name,
        from a program that does not have the function, brings its own.

        Args:
            function: the function, where the decorator has no parentheses.
            name: its name for enqueues; the function's own by default.
            retry: how failed attempts are tried again; not at all by default.
            timeout: the longest run of one attempt, in seconds.
            priority: 0 to 255, higher runs sooner.
            concurrency: how many of it this worker runs at once, in slots of its own, from 1 to
                5000.

        Raises:
            CallableError: the function cannot be a callable, or the name is taken.
            ValueError: `concurrency` cannot be used.
        """
        given = {"retry": retry, "timeout": timeout, "priority": priority}
        defaults: EnqueueOptions = {  # type: ignore[assignment]  # the keys are its own
            key: value for key, value in given.items() if value is not None
        }
        if concurrency is not None:
            _check_concurrency(concurrency)

        def offer(function: Callable[P, R], /) -> BackgroundCallable[P, R]:
            made = BackgroundCallable(
                function, name=name, defaults=defaults, concurrency=concurrency
            )
            self._offer(made)
            return made

        return offer if function is None else offer(function)  # type: ignore[return-value]

    def run(self, **overrides: Any) -> None:  # noqa: ANN401  # those of `with_settings`
        """Work until SIGTERM or SIGINT, which drain it; a second one does so at once.

        Off the main thread signals cannot be had; there it runs until the process ends.

        Args:
            overrides: settings for this run alone: `target`, `tenants`, `concurrency`, `name`,
                `lease`, `drain_timeout`.

        Raises:
            BacklaneError: the server would not take this worker.
            CallableError: there is nothing to offer, or an annotation cannot be resolved.
        """
        shift = self._make_shift(overrides)
        # Before anything is said or done of which somebody may know that it works.
        with _signals_to(shift):
            shift.start()
            # Not one long wait: the kernel may give a signal to any thread, and Python runs its
            # handler only once this one wakes.
            while not shift.wait(LOOK_EVERY_S):
                pass

    @contextmanager
    def running(self, **overrides: Any) -> Iterator[Shift]:  # noqa: ANN401  # as `run`
        """Work in the background while the block runs, and drain after it.

        Args:
            overrides: as `run` has them.
        """
        shift = self.start(**overrides)
        try:
            yield shift
        finally:
            shift.drain()
            shift.wait()

    def start(self, **overrides: Any) -> Shift:  # noqa: ANN401  # as `run`
        """Begin to work in the background, and return what drains it and waits for its end.

        Args:
            overrides: as `run` has them.
        """
        shift = self._make_shift(overrides)
        shift.start()
        return shift

    def _make_shift(self, overrides: Mapping[str, Any]) -> Shift:
        if not self._callables:
            raise CallableError("this worker offers nothing: decorate a function with @callable")
        for called in self._callables.values():
            called.prepare()
        return Shift(self._with(**overrides), self.callables)

    def _offer(self, made: BackgroundCallable[..., Any]) -> None:
        if not _CALLABLE_NAME.fullmatch(made.name):
            raise CallableError(
                f"{made.name!r} cannot name a callable: use 1 to 256 of A-Z a-z 0-9 . _ : @ / -"
            )
        other = self._callables.get(made.name)
        if other is not None:
            raise CallableError(
                f"two callables are named {made.name}: {_place(other)} and {_place(made)}; "
                "give one of them another name with name="
            )
        self._callables[made.name] = made

    def _with(
        self,
        target: str | None = None,
        tenants: Sequence[str] | str | None = None,
        **others: Any,  # noqa: ANN401  # fields of the settings
    ) -> Settings:
        changes = {name: value for name, value in others.items() if value is not None}
        endpoint = self._settings.endpoint
        if target is not None:
            changes["endpoint"] = dataclasses.replace(endpoint, target=target)
        if tenants is not None:
            changes["tenants"] = _tenants(tenants)
        if not self._settings.name:
            # Not sooner: a program may fork its workers, and each needs a name of its own.
            changes.setdefault("name", f"{socket.gethostname()}:{os.getpid()}")
        settings = dataclasses.replace(self._settings, **changes)
        _check(settings)
        return settings


def _tenants(given: Sequence[str] | str | None) -> list[str]:
    """Return the tenants to serve; an empty list means all."""
    if given is None:
        given = tenant_or_default(None)
    names = [given] if isinstance(given, str) else list(given)
    if not names:
        raise ValueError('tenants is empty: name some, or "*" for all')
    return [] if ALL_TENANTS in names else [_checked_name(name, "tenant") for name in names]


def _checked_name(name: str, what: str = "name") -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r} must be 1 to 128 of A-Z a-z 0-9 . _ : @ / -")
    return name


def _check(settings: Settings) -> None:
    if settings.name:
        _checked_name(settings.name)
    _check_concurrency(settings.concurrency)
    if not LEASE_MIN_S <= settings.lease <= LEASE_MAX_S:
        raise ValueError(f"lease must be from 1 to 3600 seconds, not {settings.lease}")
    if settings.drain_timeout < 0:
        raise ValueError(f"drain_timeout must not be negative: {settings.drain_timeout}")


def _check_concurrency(given: int) -> None:
    if given < 1:
        raise ValueError(f"concurrency must be at least 1, not {given}")
    if given > CONCURRENCY_MAX:
        raise ValueError(f"concurrency must be at most {CONCURRENCY_MAX}, not {given}")


def _place(called: BackgroundCallable[..., Any]) -> str:
    # Copied from the function, which type checkers do not see.
    return f"{called.__module__}.{vars(called)['__qualname__']}"


@contextmanager
def _signals_to(shift: Shift) -> Iterator[None]:
    """Drain on SIGTERM and SIGINT while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    ours = os.getpid()

    def drain(number: int, _frame: FrameType | None) -> None:
        if os.getpid() == ours:
            shift.drain()
        else:
            # A child that a callable forked, which has nothing to drain: it is to end.
            signal.signal(number, before[number])
            os.kill(os.getpid(), number)

    before: dict[int, Any] = {  # what `signal.signal` gave and takes again
        number: signal.signal(number, drain) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
