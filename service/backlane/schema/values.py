"""Owns the conversion between JSON in Python and `google.protobuf.Value`.

A `Value` has its numbers as doubles. An integer that no double represents is refused, not rounded.
Numbers without a fraction are read as integers, since JSON has only one kind of number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, cast

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""A JSON document in Python."""

INTEGER_MAX: Final = 2**53
"""Beyond it, on either side, two integers may have the same double."""
DEPTH_MAX: Final = 30
"""The most levels of lists and objects. A server may be set to accept fewer, but not more."""


class NotJsonError(ValueError):
    """A value that JSON or `google.protobuf.Value` cannot represent.

    Attributes:
        path: where the value is, such as `.items[2].price`; empty for the whole value.
    """

    def __init__(self, path: str, problem: str) -> None:
        """Make an error of the path and the problem."""
        super().__init__(path, problem)
        self.path = path

    def __str__(self) -> str:
        """Return path and problem in one line."""
        _, problem = self.args
        return f"{self.path or 'the value'} {problem}"


def to_value(given: object) -> Value:
    """Turn JSON into a `Value`.

    Raises:
        NotJsonError: a part is not JSON, an integer is beyond ±2^53, or there are too many levels.
    """
    return _to_value(given, "", 0)


def from_value(value: Value) -> Json:
    """Turn a `Value` into JSON; a `Value` without a kind is null."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return _number(value.number_value)
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return {name: from_value(part) for name, part in value.struct_value.fields.items()}
        case "list_value":
            return [from_value(part) for part in value.list_value.values]
        case _:
            return None


def _number(number: float) -> int | float:
    if number.is_integer() and -INTEGER_MAX <= number <= INTEGER_MAX:
        return int(number)
    return number


def _to_value(given: object, path: str, depth: int) -> Value:
    match given:
        case str():
            return _text(given, path)
        case dict() | list() | tuple() if depth == DEPTH_MAX:
            raise NotJsonError(path, f"is nested deeper than {DEPTH_MAX} levels")
        case dict():
            return _struct(given, path, depth + 1)
        case list() | tuple():
            return _list(cast("Sequence[object]", given), path, depth + 1)
        case None:
            return Value(null_value=NULL_VALUE)
        case _:
            return _scalar(given, path)


def _scalar(given: object, path: str) -> Value:
    match given:
        case bool():
            return Value(bool_value=given)
        case int() if -INTEGER_MAX <= given <= INTEGER_MAX:
            return Value(number_value=given)
        case int():
            problem = (
                f"is {_short(given)}, beyond ±2^53: a double would round it, so send it as text"
            )
            raise NotJsonError(path, problem)
        case float() if math.isfinite(given):
            return Value(number_value=given)
        case float():
            raise NotJsonError(path, f"is {given}, which JSON does not have")
        case _:
            raise NotJsonError(path, f"is a {type(given).__qualname__}, which is not JSON")


def _text(text: str, path: str) -> Value:
    try:
        return Value(string_value=text)
    except UnicodeEncodeError:
        raise NotJsonError(path, "has half a surrogate pair, which UTF-8 cannot encode") from None


def _struct(given: Mapping[object, object], path: str, depth: int) -> Value:
    fields = {}
    for name, part in given.items():
        if not isinstance(name, str):
            raise NotJsonError(path, f"has the key {_short(name)}, which is not text")
        fields[name] = _to_value(part, f"{path}.{name}", depth)
    try:
        return Value(struct_value=Struct(fields=fields))
    except UnicodeEncodeError:
        raise NotJsonError(path, "has a key with half a surrogate pair") from None


def _list(given: Sequence[object], path: str, depth: int) -> Value:
    values = [_to_value(part, f"{path}[{index}]", depth) for index, part in enumerate(given)]
    return Value(list_value=ListValue(values=values))


def _short(given: object) -> str:
    if isinstance(given, int) and given.bit_length() > 200:  # noqa: PLR2004  # some 60 digits
        return f"an integer of {given.bit_length()} bits"
    return repr(given)[:80]
