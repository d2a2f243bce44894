"""Owns the JSON of inputs and outputs: the one place where clients and workers make it.

pydantic writes the JSON. A value that its JSON would change is refused, which `exact` checks; for
values of plain JSON the check is a comparison.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pydantic_core import PydanticSerializationError, from_json, to_json

from backlane.schema.values import NotJsonError, to_value

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Value

    from backlane.schema.values import Json

_SCALARS: Final = {str, int, bool, type(None)}
"""Types whose values are JSON themselves, with one text each."""


def dump_text(given: object) -> str:
    """Return a value as JSON text, with the keys of every object in order.

    Equal values therefore have equal texts, which the server compares if a request id is repeated.
    Only a set has no order. RFC 8785 is not used: it has no integers beyond ±2^53, and would turn
    1.0 into 1.

    Raises:
        NotJsonError: the value is not JSON, or its JSON would not bring it back.
    """
    text = _written(given)
    if type(given) not in _SCALARS:
        plain = _compared(given, text)
        if b"NaN" in text or b"Infinity" in text:
            _refuse_infinite(plain, "")
        text = to_json(_in_order(plain))
    return text.decode()


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
    return to_value(_compared(given, _written(given)))


def _written(given: object) -> bytes:
    """Return a value's JSON as pydantic writes it."""
    try:
        # As strings, NaN and infinities would pass unseen; as constants they can be found.
        return to_json(given, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        try:
            _check(given)
        except NotJsonError as named:
            raise named from error
        raise NotJsonError("", f"is not JSON: {error}") from error


def _compared(given: object, text: bytes) -> Json:
    """Return what came of a value that was written, once it is known to be the same."""
    try:
        plain: Json = from_json(text)
    except ValueError as error:
        raise NotJsonError("", f"is not JSON: {error}") from error
    if plain != given:
        _check(given)
    return plain


def _in_order(plain: Json) -> Json:
    """Return JSON with the keys of every object in order."""
    if isinstance(plain, dict):
        return {name: _in_order(plain[name]) for name in sorted(plain)}
    return list(map(_in_order, plain)) if isinstance(plain, list) else plain


def _check(given: object) -> None:
    from backlane.schema.exact import check  # noqa: PLC0415  # pydantic is slow to import

    check(given)


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
