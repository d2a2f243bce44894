"""Callables: which functions are accepted, and how inputs and outputs are converted."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import functools
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
import pytest
from google.protobuf.struct_pb2 import Value

import backlane.worker.context as ctx_module
from backlane.schema.values import from_value, to_value
from backlane.testing import FakeContext
from backlane.worker.annotations import CallableError
from backlane.worker.callable import BackgroundCallable, InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from backlane.worker.context import Context


@dataclass
class Mail:
    """An input of more than one part."""

    to: str
    copies: int = 1


class Receipt(pydantic.BaseModel):
    """An output that JSON does not know by itself."""

    at: dt.datetime
    id: uuid.UUID


class Colour(enum.Enum):
    """An output that has a value."""

    RED = "red"


def greet(name: str) -> str:
    """Answer a greeting."""
    return f"hello {name}"


def test_a_callable_is_called_as_the_function_it_was() -> None:
    made = BackgroundCallable(greet)

    assert made("Ada") == "hello Ada"
    assert made.name == "greet"
    assert made.__doc__ == greet.__doc__


def test_an_input_is_validated_to_its_annotation() -> None:
    def send(mail: Mail) -> None: ...

    assert BackgroundCallable(send).load_input('{"to": "ada", "copies": "2"}') == (Mail("ada", 2),)


def test_a_class_of_an_enclosing_function_is_found() -> None:
    @dataclass
    class Local:
        text: str

    def take(given: Local) -> None: ...

    assert BackgroundCallable(take).load_input('{"text": "x"}') == (Local("x"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"copies": 2}', "input.to: Field required"),
        ('{"to": 1, "copies": 2}', "input.to: Input should be a valid string"),
        (None, "input: Input should be a dictionary or an instance of Mail"),
        ("no json", "input: Invalid JSON: expected ident at line 1 column 2"),
    ],
)
def test_an_input_that_does_not_validate_says_where(text: str | None, said: str) -> None:
    def send(mail: Mail) -> None: ...

    with pytest.raises(InputError) as caught:
        BackgroundCallable(send).load_input(text)

    assert str(caught.value) == said


@pytest.mark.parametrize(
    "hint", [str, str | None, Annotated[str, pydantic.Field(max_length=9)], int | str]
)
def test_a_text_annotation_also_takes_a_text_that_is_no_json(hint: object) -> None:
    def take(text): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202

    take.__annotations__["text"] = hint
    made = BackgroundCallable(take)

    assert made.load_input("Ada L.") == ("Ada L.",)
    assert made.load_input('"Ada"') == ("Ada",)


def test_a_number_is_no_text() -> None:
    with pytest.raises(InputError, match="input: Input should be a valid string"):
        BackgroundCallable(greet).load_input("12")


def test_without_an_annotation_the_document_comes_as_it_is() -> None:
    def take(given): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202

    assert BackgroundCallable(take).load_input('{"a": [1, null]}') == ({"a": [1, None]},)


def test_a_default_stands_for_an_input_that_is_not_there() -> None:
    def take(text: str = "nobody") -> str:
        return text

    made = BackgroundCallable(take)

    assert made.load_input(None) == ()
    assert made.load_input('"Ada"') == ("Ada",)


def test_what_only_type_checkers_import_may_annotate_the_context() -> None:
    def take(ctx, text: str) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    take.__annotations__["ctx"] = "NameThatOnlyTypeCheckersKnow"
    made = BackgroundCallable(take)
    made.prepare()

    assert made.takes_context
    assert made.load_input("Ada") == ("Ada",)


def test_an_annotation_that_cannot_be_resolved_is_named_when_work_begins() -> None:
    def take(given: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(CallableError, match="callable take: annotation 'Missing' of given cannot"):
        BackgroundCallable(take).prepare()


def test_a_type_that_nothing_validates_is_named_when_work_begins() -> None:
    class Opaque: ...

    def take(given: Opaque) -> None: ...

    with pytest.raises(CallableError, match="callable take: Unable to generate pydantic-core"):
        BackgroundCallable(take).prepare()


def test_a_type_that_names_what_is_not_known_is_named_when_work_begins() -> None:
    @dataclass
    class Bill:
        total: Missing  # type: ignore[name-defined]  # noqa: F821

    def pay(bills: list[Bill]) -> None: ...

    with pytest.raises(CallableError, match="callable pay: name 'Missing' is not defined"):
        BackgroundCallable(pay).prepare()


def test_a_type_that_names_another_of_the_same_function_is_found() -> None:
    @dataclass
    class Total:
        cents: int

    @dataclass
    class Bill:
        total: Total

    def pay(bill: Bill) -> None: ...

    made = BackgroundCallable(pay)
    made.prepare()

    assert made.load_input('{"total": {"cents": 5}}') == (Bill(Total(5)),)


class Sender:
    """An object that is called, and has a method."""

    prefix: int = 3

    def __call__(self, mail: Mail) -> str:
        return mail.to

    def send(self, mail: Mail) -> str:
        return mail.to


class AsyncSender:
    """An object whose call is awaited."""

    async def __call__(self, mail: Mail) -> str:
        return mail.to


def prefixed(prefix: str, mail: Mail) -> str:
    return prefix + mail.to


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(prefixed, "to "),
        functools.partial(functools.partial(prefixed), "to "),
        Sender(),
        Sender().send,
        AsyncSender(),
        functools.partial(Sender()),
        BackgroundCallable(Sender().send),
    ],
)
def test_the_input_of_whatever_is_called_is_validated(function: Callable[..., object]) -> None:
    made = BackgroundCallable(function, name="send")

    assert made.load_input('{"to": "ada"}') == (Mail("ada"),)
    with pytest.raises(InputError, match=r"input\.to: Field required"):
        made.load_input("{}")


def in_thread(function: Callable[..., object]) -> Callable[..., object]:
    """Make an async function of a plain one."""

    @functools.wraps(function)
    async def wrapper(*args: object) -> object:
        return await asyncio.to_thread(function, *args)

    return wrapper


def in_loop(function: Callable[..., Any]) -> Callable[..., object]:
    """Make a plain function of an async one."""

    @functools.wraps(function)
    def wrapper(*args: object) -> object:
        return asyncio.run(function(*args))

    return wrapper


async def greet_async(name: str) -> str:
    return f"hello {name}"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (greet, False),
        (greet_async, True),
        (in_thread(greet), True),
        (in_loop(greet_async), False),
        (functools.partial(greet_async), True),
        (Sender(), False),
        (AsyncSender(), True),
        (AsyncSender().__call__, True),
        (BackgroundCallable(greet_async), True),
    ],
)
def test_what_runs_first_decides_whether_it_is_async(
    function: Callable[..., object],
    expected: bool,  # noqa: FBT001
) -> None:
    assert BackgroundCallable(function, name="x").is_async is expected


def of_method(self, mail: Mail) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def of_class(cls) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def context_last(mail: Mail, ctx: Context) -> None: ...
def two(first: int, second: int) -> None: ...
def named_only(*, first: int) -> None: ...
def many(*inputs: int) -> None: ...
def generate() -> Iterator[int]:
    yield 1


async def generate_async() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (two, "callable two takes 2 inputs: put them into one, such as a dataclass"),
        (
            named_only,
            "callable named_only takes first: a callable takes `ctx` and one input at most",
        ),
        (many, r"callable many takes \*inputs: a callable takes `ctx` and one input"),
        (generate, "callable generate yields: return one output instead"),
        (generate_async, "callable generate_async yields"),
        (of_method, "callable of_method takes self: pass a method of an object"),
        (of_class, "callable of_class takes cls: pass a method of an object"),
        (context_last, "callable context_last takes `ctx` after its input: put `ctx` first"),
        (lambda: None, "has no name: give it one with name="),
    ],
)
def test_a_function_that_cannot_be_a_callable_is_refused(
    function: Callable[..., object], said: str
) -> None:
    with pytest.raises(CallableError, match=said):
        BackgroundCallable(function)


@pytest.mark.parametrize("hint", [ctx_module.Context, ctx_module.Context | None, FakeContext])
def test_a_context_under_another_name_is_refused_with_the_name_it_must_have(hint: object) -> None:
    def alone(c): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    def first(c, number): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202

    for function in (alone, first):
        function.__annotations__["c"] = hint
        said = f"callable {function.__name__} takes its context as `c`: name that parameter `ctx`"
        with pytest.raises(CallableError, match=said):
            BackgroundCallable(function)


def test_an_input_of_contexts_is_an_input() -> None:
    def take(contexts): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202

    take.__annotations__["contexts"] = list[ctx_module.Context]

    assert BackgroundCallable(take).takes_input


def test_a_context_that_only_type_checkers_import_is_named_too() -> None:
    def alone(c: Context) -> None: ...
    def first(c: Context, number: int) -> None: ...

    with pytest.raises(CallableError, match="if it is the context, name the parameter `ctx`"):
        BackgroundCallable(alone).prepare()
    with pytest.raises(CallableError, match="a context is the first parameter and is named `ctx`"):
        BackgroundCallable(first)


def test_what_a_function_is_shows() -> None:
    async def only(ctx: Context) -> None: ...

    made = BackgroundCallable(only, concurrency=2)

    assert (made.is_async, made.takes_context, made.takes_input) == (True, True, False)
    assert not BackgroundCallable(greet).is_async


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (None, None),
        ({"a": [1, 2.5, True, "x", None]}, {"a": [1, 2.5, True, "x", None]}),
        ((1, 2), [1, 2]),
        (Mail("ada"), {"to": "ada", "copies": 1}),
        (Colour.RED, "red"),
        ({1: {"x"}}, {"1": ["x"]}),
        (dt.date(2026, 1, 2), "2026-01-02"),
    ],
)
def test_an_output_becomes_json(output: object, expected: object) -> None:
    assert expected == from_value(BackgroundCallable(greet).dump_output(output))


def recursive() -> list[object]:
    """A list that holds itself."""
    ring: list[object] = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (object(), "output: the value is a object, which is not JSON: Unable to serialize"),
        (float("nan"), "output: the value is nan, which JSON does not have"),
        ([2**53, 2**53 + 1], r"output: \[1\] is 9007199254740993, beyond ±2\^53"),
        ({"a": {"b": -(2**60)}}, r"output: \.a\.b is -1152921504606846976, beyond"),
        (b"\xff", "output: "),
        ("\ud800", "output: the value has half a surrogate pair"),
        (recursive(), "output: "),
    ],
)
def test_an_output_that_is_not_json_is_refused(output: object, said: str) -> None:
    with pytest.raises(OutputError, match=said):
        BackgroundCallable(greet).dump_output(output)


def test_an_output_comes_back_as_what_the_function_returns() -> None:
    def receive() -> Receipt:
        raise NotImplementedError

    receipt = Receipt(at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC), id=uuid.UUID(int=7))
    made = BackgroundCallable(receive)

    assert receipt == made.load_output(from_value(made.dump_output(receipt)))


class Bill(pydantic.BaseModel):
    """An output that takes nothing but its own types."""

    model_config = pydantic.ConfigDict(strict=True)
    at: dt.date
    shares: dict[int, tuple[int, int]]


def test_an_output_of_a_strict_type_comes_back() -> None:
    def pay() -> Bill:
        raise NotImplementedError

    bill = Bill(at=dt.date(2026, 1, 2), shares={7: (1, 2)})
    made = BackgroundCallable(pay)

    assert bill == made.load_output(from_value(made.dump_output(bill)))


@pytest.mark.parametrize("number", [0, 1, -1, 2**53, -(2**53), 0.5, 1e300])
def test_numbers_come_back_as_they_went(number: float) -> None:
    came = from_value(to_value(number))

    assert came == number
    assert type(came) is type(number) or float(number).is_integer()


def test_a_value_of_no_kind_is_null() -> None:
    assert from_value(Value()) is None


def test_all_that_is_wrong_is_said_up_to_three_things() -> None:
    def take(numbers: list[int]) -> None: ...

    with pytest.raises(InputError, match=r"input\.0: .*; input\.1: .*; input\.2: .*; and 2 more"):
        BackgroundCallable(take).load_input('["a", "b", "c", "d", "e"]')
