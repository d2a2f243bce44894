"""The JSON of inputs and outputs: what it brings back, what it refuses, and its one text."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections import OrderedDict, deque
from collections.abc import Sequence  # noqa: TC003  # pydantic reads the annotation
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pydantic
import pytest
from pydantic_core import to_json

from backlane.schema.dump import dump_text, dump_value
from backlane.schema.values import NotJsonError, from_value

if TYPE_CHECKING:
    from collections.abc import Callable


class Colour(enum.Enum):
    """A value that goes by its text."""

    RED = "red"


class Level(enum.IntEnum):
    """A value that is a number too."""

    LOW = 1


class Pair(NamedTuple):
    """A tuple with names."""

    left: int
    right: int


class Animal(pydantic.BaseModel):
    """A base class."""

    name: str


class Dog(Animal):
    """Knows more than its base class."""

    trick: str


class Owner(pydantic.BaseModel):
    """Has a field of the base class, and one without a type."""

    animal: Animal = Animal(name="rex")
    anything: Any = None


class Login(pydantic.BaseModel):
    """Its parts are not all sent, or not as they are."""

    user: str = "ada"
    password: pydantic.SecretStr = pydantic.SecretStr("")
    note: str = pydantic.Field(default="", exclude=True)
    price: float = 0.0
    loud: float = pydantic.Field(default=0.0, serialization_alias="volume")


class Infinite(pydantic.BaseModel):
    """Sends numbers that are not finite as texts, and takes them back."""

    model_config = pydantic.ConfigDict(ser_json_inf_nan="strings")
    number: float


@dataclass
class Mail:
    """A dataclass with parts that JSON does not have itself."""

    to: str
    at: dt.date | None = None
    copies: Sequence[str] = ()
    path: pathlib.Path = pathlib.Path("x")


@dataclass
class Kennel:
    """A dataclass whose field has a base class, and one that equality leaves out."""

    animal: Animal
    secret: pydantic.SecretStr = field(default=pydantic.SecretStr(""), compare=False)


class Late(dt.datetime):
    """A class of a library that pydantic does not know, as pendulum has one."""


UNCHANGED = [
    *(None, True, 7, -0.5, "text", 2**80, [], {}, {"a": [1, {"b": None}]}),
    *((1, 2), {1, 2}, frozenset({1}), deque([1]), Pair(1, 2), OrderedDict(b=1, a=2)),
    *(Colour.RED, Level.LOW, b"bytes", uuid.UUID(int=7)),
    *(pathlib.Path("/a"), dt.date(2026, 1, 2), dt.time(1, 2), dt.timedelta(hours=30)),
    *(dt.datetime(2026, 1, 2, tzinfo=dt.UTC), Late(2026, 1, 2, tzinfo=dt.UTC), Decimal("1.10")),
    *({1: "a", 2: "b"}, {dt.date(2026, 1, 2): 1}, {True: 1}, {Colour.RED: 1}, {1.5: 2}),
    *(Login(), Dog(name="rex", trick="sit"), Owner(), Owner(anything={"at": dt.date(2026, 1, 2)})),
    *(Owner(anything=(1, Colour.RED)), Owner(anything=Dog(name="rex", trick="sit"))),
    *(Mail("ada", dt.date(2026, 1, 2), ("b", "c")), Mail("ada", None, ["b"])),
    *(Infinite(number=math.inf), Infinite(number=math.nan), [Mail("ada")]),
    *(Kennel(Animal(name="rex")), pydantic.TypeAdapter(pydantic.AnyUrl).validate_python("a://b")),
]
CHANGED = [
    (pydantic.SecretStr("s3"), "the value is a SecretStr and would arrive as SecretStr('****"),
    ([{"a": pydantic.SecretBytes(b"s3")}], "[0].a is a SecretBytes and would arrive as Secret"),
    (Login(password=pydantic.SecretStr("s3")), ".password is a SecretStr and would arrive as "),
    ({"in": [Login(note="s3")]}, ".in[0].note is a str and would arrive as ''"),
    (Login(price=math.inf), ".price would be refused where it arrives: Input should be a valid"),
    (Login(loud=2.0), ".loud is a float and would arrive as 0.0"),
    (Owner(animal=Dog(name="rex", trick="sit")), ".animal is a Dog and would arrive as Animal("),
    (Owner(anything=pydantic.SecretStr("s3")), ".anything is a SecretStr and would arrive as"),
    (Kennel(Dog(name="rex", trick="sit")), ".animal is a Dog and would arrive as Animal(name"),
    (
        [Kennel(Animal(name="rex"), pydantic.SecretStr("s3"))],
        "[0].secret is a SecretStr and would arrive as SecretStr('****",
    ),
    ({"a": {None: 1}}, ".a has the key None, which JSON would change"),
    ({(1, 2): 1}, "the value has the key (1, 2), which JSON would change"),
    ({1: "a", "1": "b"}, "the value has the keys 1 and '1', which are one key in JSON"),
    ({"a": [0.5, math.nan]}, ".a[1] is nan, which JSON does not have"),
    ([-math.inf], "[0] is -inf, which JSON does not have"),
    ([Decimal("NaN")], "[0] would be refused where it arrives: Input should be a finite number"),
    ([Decimal("-Infinity")], "[0] would be refused where it arrives: Input should be a finite"),
    ({"a": [object()]}, ".a[0] is a object, which is not JSON: Unable to serialize unknown type"),
    ({"a": b"\xff"}, ".a is a bytes, which is not JSON: "),
    ({"a": ["\ud800"]}, ".a[0] has half a surrogate pair"),
    ((number for number in [1]), "the value is a generator, which JSON does not bring back"),
]


@pytest.mark.parametrize("given", UNCHANGED, ids=repr)
def test_a_value_that_its_json_brings_back_is_sent(given: object) -> None:
    expected = json.loads(to_json(given))

    assert expected == json.loads(dump_text(given))
    if given != 2**80:  # which no double has
        assert expected == from_value(dump_value(given))


@pytest.mark.parametrize(("given", "said"), CHANGED, ids=lambda part: repr(part)[:60])
@pytest.mark.parametrize("dump", [dump_text, dump_value])
def test_a_value_that_its_json_would_change_is_refused_with_its_path(
    given: object, said: str, dump: Callable[[object], object]
) -> None:
    with pytest.raises(NotJsonError) as caught:
        dump(given)

    assert str(caught.value)[: len(said)] == said
    assert "s3" not in str(caught.value)


def test_a_value_that_holds_itself_is_refused() -> None:
    ring: list[object] = []
    ring.append(ring)

    with pytest.raises(NotJsonError, match="nested too deeply, or holds itself"):
        dump_text(ring)


@pytest.mark.parametrize("depth", [150, 220, 300, 5_000])
def test_deep_nesting_is_sent_or_refused_and_nothing_else(depth: int) -> None:
    nested: list[object] = []
    for _ in range(depth - 1):
        nested = [nested]

    try:
        text = dump_text(nested)
    except NotJsonError as refused:
        text = str(refused)

    assert text == "[" * depth + "]" * depth or text.startswith("the value is ")


def test_a_model_that_writes_nan_itself_is_refused_with_its_path() -> None:
    class Loose(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(ser_json_inf_nan="constants")
        number: float

    with pytest.raises(NotJsonError) as caught:
        dump_text({"a": [Loose(number=math.inf)]})

    assert str(caught.value) == ".a[0].number is inf, which JSON does not have"


def test_a_dataclass_of_a_function_goes_by_its_values() -> None:
    @dataclass
    class Local:
        mail: Unknown  # type: ignore[name-defined]  # noqa: F821  # only a type checker has it

    assert dump_text(Local(Mail("ada"))).startswith('{"mail":{"at":null')
    with pytest.raises(NotJsonError, match=r"^\.mail is a SecretStr"):
        dump_text(Local(pydantic.SecretStr("s3")))


def test_equal_values_have_one_text_whatever_the_order_of_their_keys() -> None:
    one = {"b": [{"y": 1, "x": 2.0}], "a": "ü", "c": 2**70}
    other = {"c": 2**70, "a": "ü", "b": [{"x": 2.0, "y": 1}]}

    assert dump_text(one) == dump_text(other)
    assert dump_text(one) == '{"a":"ü","b":[{"x":2.0,"y":1}],"c":1180591620717411303424}'


def test_a_decimal_keeps_its_digits() -> None:
    with decimal.localcontext(prec=5):
        assert dump_text(Decimal("1.234567890123456789")) == '"1.234567890123456789"'
