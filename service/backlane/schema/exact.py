"""Owns the check that JSON brings a value back as it was.

Lists, tuples, sets and dicts are checked part by part. Any other value has to come back equal if
its JSON is validated as the value's own type. So a secret that is sent as asterisks, a field that
is left out, or a subclass in a field of its base class is found, and its path is named.

Two changes are JSON's own and allowed: a tuple or a set may come back as a list, and where no type
is declared a value may come back as its JSON, such as a date as text.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections import deque
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Final

from pydantic import (
    BaseModel,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from backlane.schema.values import NotJsonError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_NO_SCHEMA: Final = (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError)
"""What pydantic raises for a type that it cannot validate."""
_ROWS: Final = (list, tuple, set, frozenset, deque)
_PLAIN: Final = (str, int, float, bool, type(None), list, dict)


def check(given: object) -> None:
    """Check that the JSON of a value brings it back.

    Raises:
        NotJsonError: it does not; the error has the path to the part that would change.
    """
    try:
        _check(given, "")
    except RecursionError:
        raise NotJsonError("", "is nested too deeply, or holds itself") from None


def _check(given: object, path: str) -> None:
    match given:
        case float() if not math.isfinite(given):
            raise NotJsonError(path, f"is {given}, which JSON does not have")
        case str():
            _check_text(given, path)
        case int() | float() | None:
            return
        case dict():
            _check_dict(given, path)
        case list() | tuple() | set() | frozenset() | deque():
            for index, part in enumerate(given):
                _check(part, f"{path}[{index}]")
        case _:
            _check_by_type(given, path)


def _check_text(given: str, path: str) -> None:
    try:
        given.encode()
    except UnicodeEncodeError:
        raise NotJsonError(path, "has half a surrogate pair, which UTF-8 cannot encode") from None


def _check_dict(given: dict[Any, object], path: str) -> None:
    keys: dict[str, object] = {}
    for key, part in given.items():
        text = str.__str__(key) if isinstance(key, str) else _key_text(key, path)
        if text in keys:
            two = f"{_short(keys[text])} and {_short(key)}"
            raise NotJsonError(path, f"has the keys {two}, which are one key in JSON")
        keys[text] = key
        _check(part, f"{path}.{text}")


def _key_text(key: object, path: str) -> str:
    """Return a key as JSON has it.

    Raises:
        NotJsonError: it does not come back from that text.
    """
    try:
        text = to_json({key: None})
        [came] = _adapter(GenericAlias(dict, (type(key), type(None)))).validate_json(text)
    except (ValidationError, PydanticSerializationError, *_NO_SCHEMA):
        text, came = b"", None
    if came is None or came != key:
        raise NotJsonError(path, f"has the key {_short(key)}, which JSON would change")
    [name] = json.loads(text)
    return str(name)


def _check_by_type(given: object, path: str) -> None:
    kind = type(given)
    try:
        text = to_json(given, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError) as error:
        raise NotJsonError(path, f"is a {kind.__qualname__}, which is not JSON: {error}") from error
    try:
        came = _validator_of(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        problem = f"would be refused where it arrives: {first['msg']}"
        raise NotJsonError(path + _path(first["loc"]), problem) from error
    except _NO_SCHEMA as error:
        _check_without_schema(given, path, error)
    else:
        _compare(given, came, path)


def _check_without_schema(given: object, path: str, error: Exception) -> None:
    """Check a dataclass whose annotations cannot be resolved here by the values of its fields."""
    if not dataclasses.is_dataclass(given):
        problem = f"is a {type(given).__qualname__}, which JSON does not bring back"
        raise NotJsonError(path, problem) from error
    for field in dataclasses.fields(given):
        _check(getattr(given, field.name), f"{path}.{field.name}")


def _compare(given: object, came: object, path: str) -> None:
    """Compare a value with what came back, part by part.

    Raises:
        NotJsonError: a part differs.
    """
    names = _fields(given) if type(given) is type(came) else None
    if names is not None:
        for name in names:
            _compare(getattr(given, name), getattr(came, name), f"{path}.{name}")
    elif isinstance(given, dict) and isinstance(came, dict) and given.keys() == came.keys():
        for key, part in given.items():
            _compare(part, came[key], f"{path}.{key}")
    elif (pairs := _pairs(given, came)) is not None:
        for index, (part, other) in enumerate(pairs):
            _compare(part, other, f"{path}[{index}]")
    elif not _is_same(given, came):
        if type(given) in _PLAIN or not _is_its_json(came, given):
            problem = f"is a {type(given).__qualname__} and would arrive as {_short(came)}"
            raise NotJsonError(path, problem)
        # No type is declared for this part. It goes by its own.
        _check(given, path)


def _pairs(given: object, came: object) -> list[tuple[object, object]] | None:
    """Pair the parts of two lists or the like; None if that is impossible."""
    if not (isinstance(given, _ROWS) and isinstance(came, _ROWS)) or len(given) != len(came):
        return None
    # A set that came back as a set has another order.
    return None if isinstance(came, set | frozenset) else list(zip(given, came, strict=True))


def _is_same(given: object, came: object) -> bool:
    if isinstance(given, float) and isinstance(came, float) and math.isnan(given):
        return math.isnan(came)
    return bool(given == came)


def _is_its_json(came: object, given: object) -> bool:
    return type(came) in _PLAIN and bool(to_jsonable_python(given) == came)


def _fields(given: object) -> Collection[str] | None:
    """Return the names of the fields of a model or a dataclass; None for anything else."""
    if isinstance(given, BaseModel):
        return [*type(given).model_fields, *(given.model_extra or ())]
    if dataclasses.is_dataclass(given):
        return [field.name for field in dataclasses.fields(given)]
    return None


def _validator_of(kind: type) -> TypeAdapter[Any]:
    """Return the validator of a type, or of its nearest base that has one."""
    *kinds, _ = kind.__mro__
    for base in kinds[:-1]:
        try:
            return _adapter(base)
        except PydanticSchemaGenerationError:
            continue
    return _adapter(kinds[-1])


@functools.lru_cache(maxsize=1024)
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401  # a type
    return TypeAdapter(kind)


def _path(parts: Sequence[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def _short(given: object) -> str:
    return repr(given)[:80]
