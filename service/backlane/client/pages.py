"""Owns lists that are read a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from backlane.schema.named import id_of
from backlane.schema.records import BackgroundExecution, Status
from backlane.v1 import execution_pb2 as records
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from backlane.schema.named import Named

PAGE_SIZE: Final = 1000


class Request(Protocol):
    """The request for a page."""

    page_token: str


class Page(Protocol):
    """A page of executions."""

    @property
    def executions(self) -> Sequence[records.BackgroundExecution]:
        """The executions of the page."""

    @property
    def next_page_token(self) -> str:
        """The token of the next page; empty on the last one."""


R = TypeVar("R", bound=Request)


class Pages:
    """A list of executions, read a page at a time."""

    def __init__(
        self, read: Callable[[R], Coroutine[Any, Any, Page]], request: R, limit: int | None
    ) -> None:
        """Begin before the first page.

        Args:
            read: reads the page that a request asks for.
            request: asks for the first page.
            limit: how many executions at most; None for all.
        """
        self._read: Callable[[Any], Coroutine[Any, Any, Page]] = read
        self._request: Request = request
        self._left = limit
        self.is_over = limit == 0

    async def next(self) -> list[BackgroundExecution]:
        """Read the next page."""
        page = await self._read(self._request)
        shown = [BackgroundExecution(proto) for proto in page.executions[: self._left]]
        if self._left is not None:
            self._left -= len(shown)
        self._request.page_token = page.next_page_token
        self.is_over = not page.next_page_token or self._left == 0
        return shown


def list_request(
    tenant_id: str,
    status: Status | str | None,
    limit: int | None,
    *,
    full: bool,
    parent: Named | str | None = None,
    where: str = "",
) -> api.ListRequest:
    """Make the request of a list's first page; with a parent it lists the parent's children.

    `where` is the text of a filter.

    Raises:
        ValueError: the limit or the status cannot be asked for.
    """
    everything = records.BACKGROUND_EXECUTION_STATUS_UNSPECIFIED
    if status is not None and Status(status) is Status.UNSPECIFIED:
        raise ValueError("status cannot be unspecified: leave it out to list everything")
    return api.ListRequest(
        tenant_id=tenant_id,
        status=everything if status is None else Status(status).number,
        parent_execution_id="" if parent is None else id_of(parent),
        filter=where,
        page_size=_page_size(limit),
        view=_view(full=full),
    )


def dead_letters_request(
    tenant_id: str, callable_name: str | None, limit: int | None, *, full: bool
) -> api.ListDeadLettersRequest:
    """Make the request of the first page of dead letters.

    Raises:
        ValueError: the limit cannot be asked for.
    """
    return api.ListDeadLettersRequest(
        tenant_id=tenant_id,
        callable_name=callable_name or "",
        page_size=_page_size(limit),
        view=_view(full=full),
    )


def _page_size(limit: int | None) -> int:
    if limit is not None and limit < 0:
        raise ValueError(f"limit must not be negative: {limit}")
    return min(PAGE_SIZE, limit) if limit else PAGE_SIZE


def _view(*, full: bool) -> records.View.ValueType:
    return records.VIEW_FULL if full else records.VIEW_BASIC
