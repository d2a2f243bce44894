"""Owns `Worker`: the callables that a program offers, and the settings with which they run."""

from __future__ import annotations

import dataclasses
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, overload

from backlane.channel import TLS, Endpoint, tenant_or_default
from backlane.schema.ranges import RANGES, check, seconds
from backlane.worker.annotations import CallableError
from backlane.worker.callable import BackgroundCallable
from backlane.worker.identity import checked_id, unique_id
from backlane.worker.shift import Settings, Shift
from backlane.worker.signals import signals_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from backlane.schema.options import EnqueueOptions, Retry
    from backlane.worker.stream import Observer

P = ParamSpec("P")
R = TypeVar("R")

CONCURRENCY_DEFAULT: Final = 16
LEASE_DEFAULT_S: Final = 30.0
LEASE_MIN_S: Final = RANGES["lease"].least
LEASE_MAX_S: Final = RANGES["lease"].most
DRAIN_DEFAULT_S: Final = 30.0
ALL_TENANTS: Final = "*"
LOOK_EVERY_S: Final = 0.2
"""How long a signal may go unnoticed, in seconds."""
_CALLABLE_NAME: Final = re.compile(r"[A-Za-z0-9._:@/-]{1,256}")


_IMPORTERS: Final[list[str]] = []


class NotNowError(RuntimeError):
    """A worker was started while a command imports its module only to find it."""


@contextmanager
def only_imported(by: str) -> Iterator[None]:
    """Refuse each start of a worker while the block runs.

    Args:
        by: who imports a module in the block, and will run the worker that it finds.
    """
    _IMPORTERS.append(by)
    try:
        yield
    finally:
        _IMPORTERS.pop()


class _Decorator(Protocol):
    """A decorator that makes a callable of a function and keeps its type."""

    def __call__(self, function: Callable[P, R], /) -> BackgroundCallable[P, R]:
        """Make the callable."""


class Worker:
    """The callables that a program offers. `run` leases executions of them and runs them.

    Async callables share one event loop, and each plain function runs on its own thread. Another
    thread sends the heartbeats, so that a callable that blocks the event loop or its own thread
    keeps its lease. Like every thread it needs Python's interpreter lock (GIL): a single call into
    C code that holds the lock for longer than the lease loses all leases of the worker. Run such
    code in a process of its own, or make the lease longer than the longest such call.

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
        worker_id: str | None = None,
        target: str | None = None,
        tenants: Sequence[str] | str | None = None,
        concurrency: int = CONCURRENCY_DEFAULT,
        lease: float | timedelta = LEASE_DEFAULT_S,
        drain_timeout: float | timedelta = DRAIN_DEFAULT_S,
        tls: TLS | bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        observe: Observer | None = None,
    ) -> None:
        """Make a worker. It does not connect before it runs.

        Args:
            name: what the worker is called. All replicas may have the same name: each run makes an
                id of it for records and logs, such as `mailer@host:4711-3f9a1c`, which no other
                worker has. Without a name the id begins with the host.
            worker_id: the exact id, in place of one that is made. No two workers that run at the
                same time may have it: the server withholds released executions from it for 5 s.
            target: the server's address, `HOST:PORT`; by default `$BACKLANE_TARGET`, else
                127.0.0.1:7433.
            tenants: the tenants whose executions to run, `"*"` for all that the worker may; by
                default `$BACKLANE_TENANT`, else `default`.
            concurrency: the most executions to run at once, from 1 to 5000.
            lease: the time without a heartbeat after which another worker may take the executions,
                from 1 to 3600 seconds.
            drain_timeout: how long callables may run during a drain, in seconds.
            tls: the TLS settings; True means the system's, and False no TLS.
            metadata: headers of the worker's streams, such as `authorization`.
            observe: called with each message of results and the server's answer, for audits.

        Raises:
            ValueError: an argument cannot be used; the message names it.
            TypeError: a number has another type.
        """
        if name and worker_id:
            raise ValueError("name and worker_id exclude each other: an exact id needs no name")
        self._settings = Settings(
            name=name or "",
            worker_id=worker_id or "",
            endpoint=Endpoint.of(target, tls, metadata),
            tenants=_tenants(tenants),
            concurrency=concurrency,
            lease=_seconds("lease", lease),
            drain_timeout=_seconds("drain_timeout", drain_timeout),
            observe=observe,
        )
        _check(self._settings)
        self._callables: dict[str, BackgroundCallable[..., Any]] = {}

    @property
    def target(self) -> str:
        """The server's address, unless a run is given another."""
        return self._settings.endpoint.target

    @property
    def callables(self) -> Mapping[str, BackgroundCallable[..., Any]]:
        """The callables, by name."""
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
        version: str | None = None,
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
        version: str | None = None,
    ) -> BackgroundCallable[P, R] | _Decorator:
        """Make a function a callable of this worker. A decorator, with or without parentheses.

        The function takes at most one input, which is validated against its annotation, and
        optionally a first parameter `ctx`. It returns the output. `retry`, `timeout` and `priority`
        apply to enqueues that are made with the callable itself. A program that enqueues by name
        has to pass its own.

        Args:
            function: the function, if the decorator is used without parentheses.
            name: the name for enqueues; the function's name by default.
            retry: the rule for retries; by default there are none.
            timeout: the longest that one attempt may run, in seconds; above 0.
            priority: from 0 to 255; a higher priority runs sooner.
            concurrency: the most executions of it that this worker runs at once, in slots of its
                own, from 1 to 5000.
            version: the version of its steps, at most 128 bytes. Change it when the steps of a
                running execution no longer fit the code: no attempt of the new version goes on
                with steps of the old one.

        Raises:
            CallableError: the function cannot be a callable, or the name is taken.
            ValueError: an option is out of its range; the message names it.
            TypeError: an option has a wrong type.
        """
        given = {"retry": retry, "timeout": timeout, "priority": priority}
        defaults: EnqueueOptions = {  # type: ignore[assignment]  # the keys are its own
            key: value for key, value in given.items() if value is not None
        }

        def offer(function: Callable[P, R], /) -> BackgroundCallable[P, R]:
            made = BackgroundCallable(
                function, name=name, defaults=defaults, concurrency=concurrency, version=version
            )
            self._offer(made)
            return made

        return offer if function is None else offer(function)  # type: ignore[return-value]

    def run(self, **overrides: Any) -> None:  # noqa: ANN401  # those of `with_settings`
        """Run until SIGTERM, SIGINT or SIGHUP. The first drains the worker, a second one stops it.

        SIGHUP, which a closed terminal sends, counts unless it is ignored, as under `nohup`, or the
        program has a handler of its own. Signals reach the main thread only. On another thread the
        worker runs until the process ends.

        Ctrl-C sends SIGINT to every process of the terminal's foreground group, and so to programs
        that callables have started. Start them with `process_group=0` to let them finish.

        Args:
            overrides: settings for this run only: `target`, `tenants`, `concurrency`, `name`,
                `worker_id`, `lease`, `drain_timeout`.

        Raises:
            BacklaneError: the server refused this worker.
            NotNowError: `backlane worker` imports the module that calls this.
            CallableError: the worker has no callables, or an annotation cannot be resolved.
        """
        shift = self._make_shift(overrides)
        # The handlers are set first: whoever sees the worker run may send a signal.
        with signals_to(shift):
            shift.start()
            # Not one long wait: the kernel may deliver a signal to any thread, and Python runs the
            # handler only when this thread wakes up.
            while not shift.wait(LOOK_EVERY_S):
                pass

    @contextmanager
    def running(self, **overrides: Any) -> Iterator[Shift]:  # noqa: ANN401  # as `run`
        """Run in the background during the block, and drain after it.

        Args:
            overrides: as in `run`.
        """
        shift = self.start(**overrides)
        try:
            yield shift
        finally:
            shift.drain()
            shift.wait()

    def start(self, **overrides: Any) -> Shift:  # noqa: ANN401  # as `run`
        """Run in the background; the returned shift drains the worker and waits for its end.

        Args:
            overrides: as in `run`.
        """
        shift = self._make_shift(overrides)
        shift.start()
        return shift

    def _make_shift(self, overrides: Mapping[str, Any]) -> Shift:
        if _IMPORTERS:
            raise NotNowError(
                f"this starts a worker while {_IMPORTERS[-1]} imports the module, and would run it "
                'too: put it under `if __name__ == "__main__":`'
            )
        if not self._callables:
            raise CallableError(
                "this worker has no callables: decorate a function with @worker.callable"
            )
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
        for name in {"lease", "drain_timeout"} & changes.keys():
            changes[name] = _seconds(name, changes[name])
        if "name" in changes:
            changes.setdefault("worker_id", "")
        settings = dataclasses.replace(self._settings, **changes)
        _check(settings)
        # Not earlier: a program may fork its workers, and each needs its own id.
        worker_id = settings.worker_id or unique_id(settings.name)
        return dataclasses.replace(settings, worker_id=worker_id)


def _tenants(given: Sequence[str] | str | None) -> list[str]:
    """Return the tenants; an empty list means all."""
    if given is None:
        given = tenant_or_default(None)
    names = [given] if isinstance(given, str) else list(given)
    if not names:
        raise ValueError('tenants is empty: name at least one, or use "*" for all')
    return [] if ALL_TENANTS in names else [checked_id(name, "tenant") for name in names]


def _check(settings: Settings) -> None:
    if settings.name:
        checked_id(settings.name, "name")
    if settings.worker_id:
        checked_id(settings.worker_id, "worker_id")
    check("concurrency", settings.concurrency)


def _seconds(name: str, given: float | timedelta) -> float:
    check(name, given)
    return seconds(given)


def _place(called: BackgroundCallable[..., Any]) -> str:
    # `update_wrapper` copies the attribute from the function, which type checkers do not see.
    return f"{called.__module__}.{vars(called)['__qualname__']}"
