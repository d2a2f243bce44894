"""Graphs: executions that depend on each other, enqueued in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backlane import AsyncClient, Client, Graph, Retry, Worker, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backlane.testing import ServerProcess

PATIENCE_S = 30


@pytest.fixture
def client(server: ServerProcess, tenant: str) -> Iterator[Client]:
    """A client of the worker's tenant."""
    with Client(server.target, tenant=tenant) as made:
        yield made


@pytest.fixture
def worker(server: ServerProcess, tenant: str) -> Worker:
    """A worker of the same tenant."""
    return Worker(target=server.target, tenants=tenant)


def test_a_graph_runs_in_the_order_of_its_edges(client: Client, worker: Worker) -> None:
    ran: list[str] = []

    @worker.callable
    async def work(name: str) -> str:
        ran.append(name)
        return name.upper()

    graph = Graph()
    first = graph.add(work, "first")
    middle = [graph.add(work, f"middle {number}", after=[first]) for number in range(3)]
    earlier = client.enqueue(work, "earlier")
    last = graph.add(work, "last", after=[*middle, earlier], retry=Retry(), priority=90)
    made = client.enqueue_graph(graph, request_id="graph-1")
    with worker.running():
        assert made[last].result(timeout=PATIENCE_S) == "LAST"

    order = [name for name in ran if name != "earlier"]
    assert (order[0], order[-1], len(order)) == ("first", "last", 5)
    assert [handle.get().status for handle in made] == ["completed"] * 5
    depends_on = made[last].get().depends_on
    assert sorted(depends_on) == sorted(
        [*(made[node].execution_id for node in middle), earlier.execution_id]
    )
    again = client.enqueue_graph(graph, request_id="graph-1")
    assert again.existing
    assert [one.execution_id for one in again] == [one.execution_id for one in made]
    other = client.enqueue_graph(graph)
    assert not other.existing
    assert made[first].execution_id != other[first].execution_id


async def test_an_async_client_enqueues_a_graph_whose_failed_node_skips_the_rest(
    server: ServerProcess, tenant: str, worker: Worker
) -> None:
    @worker.callable
    async def fails() -> None:
        raise ValueError("no")

    graph = Graph()
    begin = graph.add(fails)
    end = graph.add("never.offered", after=[begin])
    async with AsyncClient(server.target, tenant=tenant) as client:
        made = await client.enqueue_graph(graph)
        with worker.running():
            with pytest.raises(errors.ExecutionFailedError):
                await made[begin].result(timeout=PATIENCE_S)
            skipped = await made[end].wait(timeout=PATIENCE_S)
    assert (skipped.status, skipped.reason) == ("cancelled", "dependency_failed")


def test_a_graph_with_a_refused_node_enqueues_nothing(client: Client) -> None:
    graph = Graph()
    graph.add("work", "good")
    graph.add("not a name", "bad")
    with pytest.raises(errors.InvalidArgumentError, match=r"items\[1\].callable_name"):
        client.enqueue_graph(graph)
    assert list(client.list()) == []
    assert len(client.enqueue_graph(Graph())) == 0


def test_nodes_of_another_graph_and_options_of_the_whole_are_refused() -> None:
    graph, other = Graph(), Graph()
    stranger = other.add("work")
    with pytest.raises(errors.InvalidInputError, match="another graph"):
        graph.add("work", after=[stranger])
    options = {"request_id": "one"}
    with pytest.raises(errors.InvalidInputError, match="request_id is an option of enqueue_graph"):
        graph.add("work", **options)  # type: ignore[call-overload]
    with pytest.raises(errors.InvalidInputError, match="must be a list"):
        graph.add("work", after="exec_1")
    assert len(graph) == 0
