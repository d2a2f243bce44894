"""Owns schema JSON: the JSON form that records have outside of gRPC, both writing and reading.

Keys are in camelCase, enum values in lower case without their prefix (those of runs as in
`UserInput`), bytes in base64, and instants in RFC 3339 and UTC. Optional fields without a value and
empty maps are left out. The text is canonical (RFC 8785), so that reading and writing it again
gives the same bytes. The messages' descriptors tell everything else.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import rfc8785
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from backlane.schema.values import INTEGER_MAX, NotJsonError, from_value, to_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

    from backlane.schema.values import Json

M = TypeVar("M", bound=Message)

_RENAMED: Final = {
    # Milliseconds since the epoch, as the schema tables them, and durations without their unit.
    ("ExecutionError", "occurred_at_ms"): "occurredAt",
    ("RetryPolicy", "base_delay_ms"): "baseDelay",
    ("RetryPolicy", "max_delay_ms"): "maxDelay",
}
_IN_PASCAL_CASE: Final = {"ExecutionState", "StepState", "WaitReason"}
"""The enums whose values the schema writes as `UserInput`; those of all others as `user_input`."""
_WORDS: Final = re.compile(r"(?<!^)(?=[A-Z])")
_INTEGERS: Final = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}
_FLOATS: Final = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}
_NANOS: Final = 1_000_000_000
_ENCODE: Final = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode
"""Writes most records as RFC 8785 demands, and in a tenth of the time that its library takes."""
_REPR_MIN: Final = 1e-4
_REPR_MAX: Final = 1e16
"""Between these, Python writes a double with a fraction as RFC 8785 demands."""


def dumps(message: Message) -> str:
    """Return a record's schema JSON, canonical and in one line.

    Raises:
        NotJsonError: a number is beyond ±2^53, NaN or infinite, which JSON does not have.
    """
    rare: list[object] = []
    shown = _show(message, rare)
    try:
        return rfc8785.dumps(shown).decode() if rare else _ENCODE(shown)
    except (rfc8785.IntegerDomainError, rfc8785.FloatDomainError) as error:
        raise NotJsonError("", str(error)) from error


def loads(kind: type[M], text: str | bytes) -> M:
    """Read a record's schema JSON.

    Raises:
        ValueError: the text is not JSON, or not such a record; the message names the key.
    """
    try:
        given = json.loads(text, parse_int=_integer)
    except RecursionError as error:
        raise ValueError("the text is nested too deeply") from error
    return from_dict(kind, given)


def to_dict(message: Message) -> dict[str, Json]:
    """Return a record as the dicts, lists and numbers of its schema JSON."""
    return _show(message, [])


def from_dict(kind: type[M], given: object, path: str = "") -> M:
    """Make a record of the dicts, lists and numbers of schema JSON.

    Raises:
        ValueError: the JSON is not such a record; the message names the key.
    """
    if not isinstance(given, dict):
        where = path.rstrip(".") or "the record"
        raise ValueError(f"{where} must be an object")  # noqa: TRY004  # of JSON
    message = kind()
    fields = {_key(field): field for field in _fields(message)}
    for name, part in given.items():
        field = fields.get(name)
        if field is None:
            raise ValueError(f"{path}{name} is not a key of {message.DESCRIPTOR.name}")
        try:
            _set(message, field, part, f"{path}{name}")
        except (TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{path}{name} cannot be {json.dumps(part)[:80]}") from error
    return message


@functools.lru_cache(maxsize=1024)
def enum_text(enum: EnumDescriptor, number: int) -> str | None:
    """Return an enum's value as schema JSON has it; None if it is unspecified or unknown."""
    value = enum.values_by_number.get(number)
    if value is None or number == 0:
        return None
    name = value.name.removeprefix(_prefix(enum))
    return name.title().replace("_", "") if enum.name in _IN_PASCAL_CASE else name.lower()


def enum_number(enum: EnumDescriptor, text: str) -> int:
    """Return the number of an enum's value.

    Raises:
        ValueError: there is no such value.
    """
    words = _WORDS.sub("_", text) if enum.name in _IN_PASCAL_CASE else text
    value = enum.values_by_name.get(_prefix(enum) + words.upper())
    if value is None or text != enum_text(enum, value.number):
        known = ", ".join(
            name for number in enum.values_by_number if (name := enum_text(enum, number))
        )
        raise ValueError(f"{text!r} is not one of {known}")
    return value.number


def _fields(message: Message) -> list[FieldDescriptor]:
    # The stubs have two classes of descriptors with the same interface.
    return cast("list[FieldDescriptor]", message.DESCRIPTOR.fields)


def _map_value(field: FieldDescriptor) -> FieldDescriptor:
    entry = cast("Descriptor", field.message_type)
    return entry.fields_by_name["value"]


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def _key(field: FieldDescriptor) -> str:
    owner = cast("Descriptor", field.containing_type)
    return _RENAMED.get((owner.name, field.name), field.json_name)


def _prefix(enum: EnumDescriptor) -> str:
    return _WORDS.sub("_", enum.name).upper() + "_"


class _Part(NamedTuple):
    """How a field is written.

    Attributes:
        number: the field's number.
        key: its key.
        write: turns its value into JSON, and notes what `_ENCODE` may write in another way.
        default: what stands for it if it is not set, or one of the constants below.
    """

    number: int
    key: str
    write: Callable[[Any, list[object]], Json]
    default: Any


_ABSENT: Final = object()
"""Nothing stands for a field that is not set."""
_UNSPECIFIED: Final = object()
"""Nothing stands for an enum that is not set or unknown."""
_EMPTY: Final = object()
"""A new empty list stands for a field that is not set."""


def _show(message: Message, rare: list[object]) -> dict[str, Json]:
    given = {field.number: value for field, value in message.ListFields()}
    shown: dict[str, Json] = {}
    for number, key, write, default in _plan(message.DESCRIPTOR):
        if number in given:
            value = write(given[number], rare)
            if value is not None or default is not _UNSPECIFIED:
                shown[key] = value
        elif default is _EMPTY:
            shown[key] = []
        elif default is not _ABSENT and default is not _UNSPECIFIED:
            shown[key] = default
    return shown


@functools.cache
def _plan(descriptor: Descriptor) -> list[_Part]:
    """Return how each field of a message is written, in the order of the fields."""
    return [
        _Part(field.number, _key(field), _writer(field), _default(field))
        for field in cast("list[FieldDescriptor]", descriptor.fields)
    ]


def _default(field: FieldDescriptor) -> Any:  # noqa: ANN401  # a scalar, or one of the constants
    if field.is_repeated:
        return _ABSENT if _is_map(field) else _EMPTY
    if field.has_presence:
        return _ABSENT
    if field.type == FieldDescriptor.TYPE_BYTES:
        return ""
    return _UNSPECIFIED if field.enum_type is not None else field.default_value


def _writer(field: FieldDescriptor) -> Callable[[Any, list[object]], Json]:
    if not field.is_repeated:
        return _one_writer(field)
    write = _one_writer(_map_value(field) if _is_map(field) else field)

    def write_map(given: Any, rare: list[object]) -> Json:  # noqa: ANN401  # one of strings
        rare += (name for name in given if not name.isascii())
        return {name: write(given[name], rare) for name in given}

    if _is_map(field):
        return write_map
    return lambda given, rare: [write(part, rare) for part in given]


def _one_writer(field: FieldDescriptor) -> Callable[[Any, list[object]], Json]:
    """Return what writes a single value of a field."""
    if (enum := field.enum_type) is not None:
        return lambda given, _: enum_text(enum, given)
    if field.message_type is not None:
        return _WRITERS.get(field.message_type.full_name, _show)
    if field.cpp_type in _INTEGERS | _FLOATS:
        return _write_number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda given, _: base64.b64encode(given).decode()
    return lambda given, _: given


def _write_number(given: float, rare: list[object]) -> float:
    if isinstance(given, int):
        if not -INTEGER_MAX < given < INTEGER_MAX:
            rare.append(given)
    elif given.is_integer() or not _REPR_MIN <= abs(given) < _REPR_MAX:
        rare.append(given)
    return given


def _write_value(given: Value, rare: list[object]) -> Json:
    shown = _as_written(from_value(given))
    _note_rare(shown, rare)
    return shown


def _note_rare(shown: Json, rare: list[object]) -> None:
    match shown:
        case dict():
            # Keys are in the order of UTF-16, which Python's differs from beyond the first plane.
            rare += (name for name in shown if not name.isascii())
            for part in shown.values():
                _note_rare(part, rare)
        case list():
            for part in shown:
                _note_rare(part, rare)
        case float():
            _write_number(shown, rare)
        case _:
            pass


def _write_instant(instant: Timestamp, _: list[object]) -> str:
    nanos = instant.nanos
    if not 0 <= nanos < _NANOS:
        return instant.ToJsonString()
    whole = _second_text(instant.seconds)
    if nanos == 0:
        return f"{whole}Z"
    if nanos % 1_000_000 == 0:
        return f"{whole}.{nanos // 1_000_000:03}Z"
    return f"{whole}.{nanos // 1000:06}Z" if nanos % 1000 == 0 else f"{whole}.{nanos:09}Z"


@functools.lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    return Timestamp(seconds=seconds).ToJsonString().removesuffix("Z")


_WRITERS: Final[dict[str, Callable[[Any, list[object]], Json]]] = {
    Timestamp.DESCRIPTOR.full_name: _write_instant,
    Value.DESCRIPTOR.full_name: _write_value,
}


def _as_written(given: Json) -> Json:
    """Return JSON that the library accepts: it takes ±2^53 itself only as a double."""
    match given:
        case dict():
            return {name: _as_written(part) for name, part in given.items()}
        case list():
            return [_as_written(part) for part in given]
        case int() if abs(given) == INTEGER_MAX:
            return float(given)
        case _:
            return given


def _integer(text: str) -> int | float:
    """Read an integer, or a large double, which is written without a fraction too."""
    number = int(text)
    if abs(number) <= INTEGER_MAX or not -sys.float_info.max <= number <= sys.float_info.max:
        return number
    double = float(number)
    return double if rfc8785.dumps(double).decode() == text else number


def _set(message: Message, field: FieldDescriptor, given: Any, path: str) -> None:  # noqa: ANN401
    target = getattr(message, field.name)
    if _is_map(field):
        inner = _map_value(field)
        for name, part in given.items():
            value = _load(inner, part, f"{path}.{name}")
            if isinstance(value, Message):
                target[name].CopyFrom(value)
            else:
                target[name] = value
    elif field.is_repeated:
        if not isinstance(given, list):
            raise TypeError(path)
        for index, part in enumerate(given):
            target.append(_load(field, part, f"{path}[{index}]"))
    elif field.message_type is not None:
        target.CopyFrom(_load(field, given, path))
    else:
        value = _load(field, given, path)
        try:
            setattr(message, field.name, value)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _load(field: FieldDescriptor, given: Any, path: str) -> Any:  # noqa: ANN401  # as `_dump`
    if field.message_type is not None:
        return _load_message(field, given, path)
    if field.enum_type is not None:
        try:
            return enum_number(field.enum_type, given)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if field.cpp_type in _INTEGERS | _FLOATS and isinstance(given, bool):
        raise TypeError(path)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL and not isinstance(given, bool):
        raise TypeError(path)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _load_bytes(given, path)
    return given


def _load_bytes(given: str, path: str) -> bytes:
    try:
        loaded = base64.b64decode(given, validate=True)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if base64.b64encode(loaded).decode() != given:
        raise ValueError(f"{path} has base64 that is not canonical")
    return loaded


def _load_message(field: FieldDescriptor, given: Any, path: str) -> Message:  # noqa: ANN401
    kind = message_factory.GetMessageClass(cast("Descriptor", field.message_type))
    if kind is Value:
        return to_value(given)
    if kind is Timestamp:
        instant = Timestamp()
        try:
            instant.FromJsonString(given)
        except ValueError as error:
            raise ValueError(
                f"{path}: {given!r} is not an instant in the form of RFC 3339"
            ) from error
        return instant
    return from_dict(kind, given, f"{path}.")
