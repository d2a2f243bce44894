"""What both clients refuse, or hand on that the server refuses: by a name, and without a trace."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from backlane import Client, Worker, errors
from tests.conformance.door import UNKNOWN_ID, new_tenant
from tests.integration.client_kinds import KINDS, PATIENCE_S, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backlane.testing import ServerProcess

TOO_LARGE_ANYWHERE = "y" * (5 << 20)
TOO_LARGE_HERE = "y" * (2 << 20)


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[Client]:
    """A client of either kind, for a tenant of its own."""
    with open_client(request.param, server.target, new_tenant(), call_timeout=PATIENCE_S) as opened:
        yield opened


@Worker("idle").callable
def nothing() -> None: ...


REFUSALS: dict[str, tuple[Callable[[Any], object], type[Exception], str]] = {
    "a bad name": (lambda c: c.enqueue("no good"), errors.InvalidArgumentError, "callable_name: "),
    "a bad priority": (
        lambda c: c.enqueue("x", priority=256),
        errors.InvalidArgumentError,
        "INVALID_ARGUMENT: config.priority: must be 0 to 255",
    ),
    "a large input": (lambda c: c.enqueue("x", TOO_LARGE_HERE), errors.TooLargeError, "input: is"),
    "an input for no server": (
        lambda c: c.enqueue("x", TOO_LARGE_ANYWHERE),
        errors.TooLargeError,
        "no server takes more than 4194304",
    ),
    "NaN": (lambda c: c.enqueue("x", [float("nan")]), errors.InvalidInputError, "[0] is nan"),
    "NaN beyond a large integer": (
        lambda c: c.enqueue("x", [2**60, float("nan")]),
        errors.InvalidInputError,
        "input: [1] is nan, which JSON does not have",
    ),
    "parts that can be drawn only once": (
        lambda c: c.enqueue("x", iter([float("-inf")])),
        errors.InvalidInputError,
        "input: the value is a list_iterator, which JSON does not bring back",
    ),
    "a secret": (
        lambda c: c.run("x", {"in": [pydantic.SecretStr("s3")]}),
        errors.InvalidInputError,
        "input: .in[0] is a SecretStr and would arrive as SecretStr(",
    ),
    "an empty request id": (
        lambda c: c.enqueue("x", request_id=""),
        errors.InvalidInputError,
        "request_id cannot be '': it must not be empty",
    ),
    "an empty request id of many": (
        lambda c: c.enqueue_many("x", [1], request_id=""),
        errors.InvalidInputError,
        "request_id cannot be '': it must not be empty",
    ),
    "an empty dedup key": (
        lambda c: c.run("x", dedup_key=""),
        errors.InvalidInputError,
        "dedup_key cannot be '': it must not be empty",
    ),
    "inputs for what takes none": (
        lambda c: c.enqueue_many(nothing, [1, 2]),
        TypeError,
        "callable nothing takes no input",
    ),
    "half a pair": (lambda c: c.enqueue("x", "\ud800"), errors.InvalidInputError, "input: "),
    "half a name": (lambda c: c.enqueue("\ud800"), errors.InvalidInputError, "callable's name"),
    "no JSON": (lambda c: c.enqueue("x", object()), errors.InvalidInputError, "input: "),
    "an unknown option": (
        lambda c: c.enqueue("x", priorty=1),
        errors.InvalidInputError,
        "priorty is no option of an enqueue; there are mode, priority",
    ),
    "a negative delay": (lambda c: c.enqueue("x", delay=-1), errors.InvalidInputError, "delay"),
    "an endless timeout": (
        lambda c: c.enqueue("x", timeout=float("inf")),
        errors.InvalidInputError,
        "timeout cannot be inf",
    ),
    "a time without a zone": (
        lambda c: c.enqueue("x", deadline=datetime(2030, 1, 1)),  # noqa: DTZ001  # what is tested
        errors.InvalidInputError,
        "names no time zone",
    ),
    "a large integer": (
        lambda c: c.enqueue("x", metadata={"id": 2**53 + 1}),
        errors.InvalidInputError,
        "beyond ±2^53",
    ),
    "what is no callable": (lambda c: c.enqueue(7), TypeError, "neither a callable's name"),
    "an unknown id": (lambda c: c.get(UNKNOWN_ID), errors.ExecutionNotFoundError, UNKNOWN_ID),
    "what is no id": (lambda c: c.get("junk"), errors.InvalidArgumentError, "execution_id"),
    "to cancel nothing": (
        lambda c: c.cancel(UNKNOWN_ID),
        errors.ExecutionNotFoundError,
        UNKNOWN_ID,
    ),
    "to wait for nothing": (lambda c: c.wait([]), ValueError, "nothing to wait for"),
    "to wait for some": (lambda c: c.wait(["x"], until="some"), ValueError, "until must be"),
    "to wait for none": (lambda c: c.wait(["x"], until=0), ValueError, "from 1 to 1"),
    "to wait for more": (lambda c: c.wait(["x"], until=2), ValueError, "from 1 to 1"),
    "any of too many": (
        lambda c: c.wait(map(str, range(1001)), until="any"),
        ValueError,
        "at most 1000 executions, not 1001",
    ),
    "an unknown status": (lambda c: list(c.list(status="done")), ValueError, "done"),
    "no status": (lambda c: list(c.list(status="unspecified")), ValueError, "leave it out"),
    "a list of less": (lambda c: list(c.list(limit=-1)), ValueError, "limit"),
    "a peek at none": (lambda c: c.peek(limit=0), ValueError, "limit must be at least 1"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_done_is_refused_by_name(client: Client, name: str) -> None:
    call, kind, words = REFUSALS[name]

    with pytest.raises(kind) as refused:
        call(client)

    assert words in str(refused.value)
    assert client.enqueue("x").existing is False


def test_of_many_those_that_are_refused_are_told_in_their_places(client: Client) -> None:
    inputs = [1, TOO_LARGE_HERE, float("nan"), TOO_LARGE_ANYWHERE, 5]

    mixed = client.enqueue_many("x", inputs, return_exceptions=True)
    with pytest.raises(errors.EnqueueManyError, match="3 of 5 enqueues were refused") as refused:
        client.enqueue_many("x", inputs)

    kinds = [errors.TooLargeError, errors.InvalidInputError, errors.TooLargeError]
    assert [type(one) for one in mixed[1:4]] == kinds
    assert [type(one) for one in refused.value.errors] == kinds
    made = [one for one in mixed if not isinstance(one, Exception)]
    assert [handle.get().input for handle in made] == ["1", "5"]
    assert [hasattr(one, "execution_id") for one in refused.value.outcomes] == [
        True, False, False, False, True,
    ]  # fmt: skip


def test_inputs_that_cannot_be_sent_leave_the_client_as_it_was(client: Client) -> None:
    [problem] = client.enqueue_many("x", [float("nan")], return_exceptions=True)

    assert isinstance(problem, errors.InvalidInputError)
    assert client.enqueue_many("x", []) == []
    assert client.enqueue("x").existing is False
