"""How `backlane graph` reads a graph: level by level, and no more than it shows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from grpc import StatusCode

from backlane.cli import graph
from backlane.client.waits import WaitResult
from backlane.errors import (
    BacklaneError,
    DataDamagedError,
    ErrorParts,
    ExecutionNotFoundError,
)
from backlane.schema.records import BackgroundExecution
from backlane.v1 import execution_pb2 as records

if TYPE_CHECKING:
    from collections.abc import Sequence


class Shop:
    """A client of a server with a graph: what each execution depends on, or why it is not read."""

    def __init__(self, below: dict[str, Sequence[str] | BacklaneError]) -> None:
        self.below = below
        self.got: list[str] = []
        self.waited: list[list[str]] = []
        self.lock = threading.Lock()

    def get(self, name: str) -> BackgroundExecution:
        with self.lock:
            self.got.append(name)
        found = self.look(name)
        if isinstance(found, BacklaneError):
            raise found
        return found

    def wait(self, names: Sequence[str], *, timeout: float) -> WaitResult:
        assert timeout == 0
        self.waited.append(list(names))
        return WaitResult([self.look(name) for name in names], satisfied=False)

    def look(self, name: str) -> BackgroundExecution | BacklaneError:
        below = self.below[name]
        if isinstance(below, BacklaneError):
            return below
        proto = records.BackgroundExecution(execution_id=name, depends_on=below)
        return BackgroundExecution(proto)

    def read(self, *, in_full: bool = False) -> graph.Graph:
        return graph.read(cast("Any", self), "root", in_full=in_full)


GONE = ExecutionNotFoundError(ErrorParts(StatusCode.NOT_FOUND, "gone"))
DIAMOND: dict[str, Sequence[str] | BacklaneError] = {
    "root": ["a", "b"],
    "a": ["c", "gone"],
    "b": ["c", "a"],
    "c": [],
    "gone": GONE,
}


def test_each_level_is_one_call_and_nothing_is_read_twice() -> None:
    shop = Shop(DIAMOND)

    read = shop.read()

    assert (shop.got, shop.waited) == (["root"], [["a", "b"], ["c", "gone"]])
    assert list(read.records) == ["root", "a", "b", "c"]
    assert (read.gone, read.is_cut) == ({"gone"}, False)


def test_records_in_full_are_read_one_by_one_in_the_same_order() -> None:
    shop = Shop(DIAMOND)

    read = shop.read(in_full=True)

    assert sorted(shop.got) == ["a", "b", "c", "gone", "root"]
    assert list(read.records) == ["root", "a", "b", "c"]
    assert read.gone == {"gone"}


def test_a_large_graph_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "SHOWN_MAX", 3)

    read = Shop(DIAMOND).read()

    assert list(read.records) == ["root", "a", "b"]
    assert read.is_cut


def test_damage_is_told() -> None:
    damaged = DataDamagedError(ErrorParts(StatusCode.DATA_LOSS, "damaged"))

    with pytest.raises(DataDamagedError):
        Shop({"root": ["a"], "a": damaged}).read()
