"""Exceptions and callables keep what they are when they are pickled, as pools of processes do."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import pickle
import pkgutil
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from google.rpc import status_pb2

import backlane
from backlane import BackgroundExecution, Failure, Retry, Throttled, Worker, errors
from backlane.errors import ErrorParts
from backlane.v1 import execution_pb2 as records
from backlane.worker import BackgroundCallable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INNER: Final = ("backlane.cli", "backlane.server", "backlane.v1", "backlane.__main__")
"""Packages whose exceptions are handled in their own process: programs do not import them."""
PARTS: Final = ErrorParts(
    grpc.StatusCode.UNAVAILABLE, "gone", "DRAINING", {"a": "b"}, retry_after_s=2.5
)
RECORD: Final = BackgroundExecution(
    records.BackgroundExecution(execution_id="exec_1", callable_name="work")
)
SAMPLES: Final[dict[str, tuple[object, ...]]] = {
    "ConfigError": (["port is taken", "host is empty"],),
    "EndOfStream": (status_pb2.Status(code=3, message="no"),),
    "EnqueueManyError": ([errors.InvalidInputError("no"), "exec_1"],),
    "ForkedError": ("Client", 1, 2),
    "NoInputError": ("approval", "its time has passed"),
    "NotFinishedError": ("exec_1", "queued", 2.5),
    "NotJsonError": (".a", "is not JSON"),
    "ServerStartError": (1, "no port"),
    **dict.fromkeys(
        ("ExecutionEndedError", "ExecutionFailedError", "ExecutionCancelledError"), (RECORD,)
    ),
    "ExecutionTimedOutError": (RECORD,),
}
"""The arguments of exceptions that are not made of one text."""


def exceptions() -> Iterator[type[BaseException]]:
    """Every exception that the package defines and programs may meet."""
    for module in pkgutil.walk_packages(backlane.__path__, "backlane."):
        if module.name.startswith(INNER):
            continue
        for found in vars(importlib.import_module(module.name)).values():
            is_exception = inspect.isclass(found) and issubclass(found, BaseException)
            if is_exception and found.__module__ == module.name:
                yield found


def sample(kind: type[BaseException]) -> BaseException:
    """An exception of a class, as it is raised."""
    if kind is Throttled:
        return Throttled("busy", retry_after=2, code="rate")
    if kind is Failure:
        return Failure("no", category="llm_error", retryable=False, details={"a": [1]})
    if issubclass(kind, errors.BacklaneError):
        return kind(PARTS)
    return kind(*SAMPLES.get(kind.__name__, ("no",)))


def pickled(given: Any) -> Any:  # noqa: ANN401  # of the same type
    return pickle.loads(pickle.dumps(given))  # noqa: S301  # it was pickled just now


def attributes(error: BaseException) -> dict[str, str]:
    """The attributes of an exception, each as text: not all that are equal compare as equal."""
    return {name: repr(value) for name, value in vars(error).items()}


@pytest.mark.parametrize("copied", [pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", sorted(set(exceptions()), key=str))
def test_every_exception_is_the_same_afterwards(
    kind: type[BaseException], copied: Callable[[BaseException], BaseException]
) -> None:
    error = sample(kind)
    error.add_note("noted")
    again = copied(error)

    assert (type(again), str(again), repr(again)) == (kind, str(error), repr(error))
    assert attributes(again) == attributes(error)


def test_no_exception_is_overlooked() -> None:
    found = {kind.__name__ for kind in exceptions()}

    assert found > {"Throttled", "CallableError", "LeaseLostError", *SAMPLES}


class Refused(Failure):
    """A failure of a program's own, with its own parameters."""

    def __init__(self, order: int, *, by: str) -> None:
        super().__init__(f"order {order} was refused", code="refused", http_status=403)
        self.by = by


def test_a_failure_with_a_constructor_of_its_own_is_the_same_afterwards() -> None:
    refused = Refused(7, by="acme")
    again = pickled(refused)

    assert (type(again), str(again), again.by) == (Refused, "order 7 was refused", "acme")
    assert attributes(again) == attributes(refused)


worker = Worker()


@worker.callable(retry=Retry(max_attempts=5), priority=9, concurrency=2)
def greet(name: str) -> str:
    return f"hello {name}"


class Mailer:
    """Has a callable of its own."""

    @worker.callable(name="mail.send")
    @staticmethod
    def send(to: str) -> str:
        return to


def double(number: int) -> int:
    return 2 * number


def pow_of(base: int, number: int) -> int:
    return int(base**number)


@pytest.mark.parametrize("called", [greet, Mailer.send], ids=["function", "of a class"])
def test_a_decorated_function_is_pickled_by_its_name(called: BackgroundCallable[..., str]) -> None:
    assert pickled(called) is called
    assert pickled(called)("Ada") == called("Ada")


def test_a_callable_that_its_module_does_not_have_is_made_again() -> None:
    doubled = Worker().callable(name="math.double", priority=9, concurrency=2)(double)
    tripled = BackgroundCallable(functools.partial(pow_of, 3), name="math.power")

    again = pickled(doubled)
    assert (again.name, again.defaults, again.concurrency) == ("math.double", {"priority": 9}, 2)
    assert (again(4), again.load_input("5")) == (8, (5,))
    assert pickled(tripled)(2) == 9


def test_options_are_equal_afterwards() -> None:
    retry = Retry(max_attempts=5, retry_on=["network_error"])

    assert pickled(retry) == retry
