"""Declared callables: what a producer gives a client if the code is in another repository."""

from __future__ import annotations

import datetime as dt
import pickle
from dataclasses import dataclass

import pytest

from backlane import DeclaredCallable, Retry, declare
from backlane.schema.options import ABSENT
from backlane.sdk.target import Target, load, resolve
from backlane.worker import CallableError, Context


@dataclass
class Mail:
    """An input."""

    to: str


@declare(name="mail.send", retry=Retry(max_attempts=2), timeout=5, priority=90)
def send(ctx: Context, mail: Mail) -> dt.date:
    """Send a mail."""
    raise NotImplementedError


@declare
async def sweep() -> int:
    """Take nothing."""
    raise NotImplementedError


def test_a_declared_callable_is_a_target_with_a_name_and_defaults() -> None:
    assert isinstance(send, DeclaredCallable)
    assert isinstance(send, Target)
    assert resolve(send, Mail("ada")) == ("mail.send", send)
    assert resolve(sweep, ABSENT) == ("sweep", sweep)
    assert send.defaults == {"retry": Retry(max_attempts=2), "timeout": 5, "priority": 90}
    assert sweep.defaults == {}


def test_its_output_comes_back_as_it_is_declared() -> None:
    assert load(send, "2026-01-02") == dt.date(2026, 1, 2)


def test_it_is_enqueued_and_not_called() -> None:
    with pytest.raises(TypeError, match=r"^mail\.send is declared here and its code is elsewhere"):
        send(None, Mail("ada"))  # type: ignore[arg-type]  # it is not looked at
    assert repr(send) == "<declared callable mail.send>"


def test_a_signature_that_no_callable_can_have_is_refused() -> None:
    def pair(left: int, right: int) -> None: ...

    with pytest.raises(CallableError, match="callable pair takes 2 inputs"):
        declare(pair)


def test_it_can_be_pickled() -> None:
    copy = pickle.loads(pickle.dumps(send))  # noqa: S301  # it was pickled here

    assert copy is send


def test_an_option_that_no_enqueue_can_have_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ValueError, match="priority"):
        declare(priority=300)(send.function)
