"""Owns the JSON of inputs and outputs: the one place where clients and workers make it.

pydantic writes the JSON. A value that its JSON would change is refused, which `exact` checks; for
values of plain JSON the check is a comparison.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from pydantic_core import PydanticSerializationError, to_json

from backlane.schema.values import NotJsonError, to_value

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Value

    from backlane.schema.values import Json

_ENCODE: Final = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def dump_text(given: object) -> str:
    """Return a value as JSON text, with the keys of every object in order.

    Equal values therefore have equal texts, which the server compares if a request id is repeated.
    Only a set has no order. RFC 8785 is not used: it has no integers beyond ±2^53, and would turn
    1.0 into 1.

    Raises:
        NotJsonError: the value is not JSON, or its JSON would not bring it back.
    """
    plain = _plain(given)
    if plain != given:
        _check(given)
    try:
        return _ENCODE(plain)
    except (ValueError, RecursionError) as error:
        _refuse_infinite(plain, "")
        raise NotJsonError("", f"is not JSON: {error}") from error


def dump_value(given: object) -> Value:
    """Return a value as a `google.protobuf.Value`.

    Raises:
        NotJsonError: the value is not JSON, its JSON would not bring it back, or a `Value` cannot
            hold a part of it, such as an integer beyond ±2^53.
    """
    try:
        return to_value(given)
    except NotJsonError:
        # Models, dataclasses, times and the like are converted by pydantic.
        pass
    value = to_value(_plain(given))
    _check(given)
    return value


def _plain(given: object) -> Json:
    """Return a value as pydantic's JSON has it."""
    try:
        # As strings, NaN and infinities would pass unseen; as constants they can be found.
        plain: Json = json.loads(to_json(given, inf_nan_mode="constants"))
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise _not_json(given, error) from error
    return plain


def _check(given: object) -> None:
    from backlane.schema.exact import check  # noqa: PLC0415  # pydantic is slow to import

    check(given)


def _not_json(given: object, error: Exception) -> NotJsonError:
    """Return the error of a value that pydantic refuses; it names the part if that can be found."""
    try:
        _check(given)
    except NotJsonError as named:
        return named
    return NotJsonError("", f"is not JSON: {error}")


def _refuse_infinite(plain: Json, path: str) -> None:
    match plain:
        case dict():
            for name, part in plain.items():
                _refuse_infinite(part, f"{path}.{name}")
        case list():
            for index, part in enumerate(plain):
                _refuse_infinite(part, f"{path}[{index}]")
        case float() if not math.isfinite(plain):
            raise NotJsonError(path, f"is {plain}, which JSON does not have")
        case _:
            pass
