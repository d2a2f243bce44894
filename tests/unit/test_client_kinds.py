"""The two clients are one: the same calls with the same parameters, blocking or awaited."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from backlane import AsyncClient, AsyncHandle, Client, Handle
from backlane.sdk.blocking import finish

PAIRS = [(Client, AsyncClient), (Handle, AsyncHandle)]


def parameters(kind: type) -> dict[str, list[tuple[str, str, object]]]:
    """The parameters of each public method of a class: name, kind and default."""
    return {
        name: [
            (one.name, one.kind.name, one.default)
            for one in inspect.signature(method).parameters.values()
        ]
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(("blocking", "awaited"), PAIRS)
def test_both_kinds_have_the_same_methods_with_the_same_parameters(
    blocking: type, awaited: type
) -> None:
    assert parameters(blocking) == parameters(awaited)


@pytest.mark.parametrize(("blocking", "awaited"), PAIRS)
def test_only_one_kind_has_coroutines(blocking: type, awaited: type) -> None:
    # `handle` asks nothing of the server, and the lists are iterators.
    lists = {"list", "dead_letters", "children", "redrive_many"}
    calls = set(parameters(awaited)) - {"handle", *lists}

    assert {name for name in calls if inspect.iscoroutinefunction(getattr(awaited, name))} == calls
    assert {name for name in calls if inspect.iscoroutinefunction(getattr(blocking, name))} == set()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_call_explains_itself(kind: type) -> None:
    silent = [name for name in parameters(kind) if not inspect.getdoc(getattr(kind, name))]

    assert silent == []


def test_a_blocking_call_that_would_wait_for_a_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match="tried to wait for an event loop"):
        finish(asyncio.sleep(0))
