"""Owns request ids, and the request of a redrive."""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING, Final, cast

from backlane.errors import InvalidInputError
from backlane.schema.options import RedriveOptions
from backlane.sdk.request import fill, merged
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLAGS: Final = ("restart", "with_dependents")
"""The options of a redrive that are no options of an enqueue."""


def request_ids(prefix: str | None = None) -> Iterator[str]:
    """Yield request ids without end: the prefix and a number, from 1.

    Without a prefix they are unique and cannot be guessed.
    """
    return map(f"{prefix or secrets.token_hex(12)}-{{}}".format, itertools.count(1))


def redrive_request(
    tenant_id: str, execution_id: str, given: object, options: RedriveOptions
) -> api.RedriveRequest:
    """Make the request of a redrive; without a request id among the options it has a new one.

    Raises:
        InvalidInputError: the input or an option cannot be sent.
    """
    known = RedriveOptions.__annotations__
    if unknown := next((name for name in options if name not in known), None):
        raise InvalidInputError(
            f"{unknown} is no option of a redrive; there are {', '.join(known)}"
        )
    plain = {name: value for name, value in options.items() if name not in _FLAGS}
    made = api.EnqueueRequest()
    fill(made, tenant_id, "", given, merged({}, cast("RedriveOptions", plain)))
    return api.RedriveRequest(
        tenant_id=tenant_id,
        execution_id=execution_id,
        input=made.input if made.HasField("input") else None,
        config=made.config if made.HasField("config") else None,
        request_id=made.request_id or next(request_ids()),
        restart=_flag(options, "restart"),
        with_dependents=_flag(options, "with_dependents"),
    )


def _flag(options: RedriveOptions, name: str) -> bool:
    value = options.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be True or False, not {value!r}")
    return bool(value)
