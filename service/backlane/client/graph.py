"""Owns graphs: executions that depend on each other, put together to be enqueued in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from backlane.errors import InvalidInputError
from backlane.schema.options import ABSENT
from backlane.sdk.request import check_size, fill, merged
from backlane.sdk.target import resolve
from backlane.v1 import execution_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Unpack

    from backlane.client.handle import AsyncHandle, Handle
    from backlane.schema.named import Named
    from backlane.schema.options import NodeOptions
    from backlane.sdk.target import Takes, TakesNothing, Target

I = TypeVar("I")  # noqa: E741  # the input of a callable, as in `Client`
O = TypeVar("O")  # noqa: E741  # the output of a callable, as in `Client`
H = TypeVar("H")
T_co = TypeVar("T_co", covariant=True)


class Node(Generic[T_co]):
    """An execution of a graph that is not enqueued yet.

    Attributes:
        position: its place in the graph, from 0.
        callable_name: the name of its callable.
    """

    __slots__ = ("callable_name", "graph", "position", "target")

    def __init__(
        self, graph: Graph, position: int, callable_name: str, target: Target | None
    ) -> None:
        """Point at a place in a graph; made by `Graph.add`."""
        self.graph = graph
        self.position = position
        self.callable_name = callable_name
        self.target = target

    def __repr__(self) -> str:
        """Name the callable and the place."""
        return f"<Node {self.position} {self.callable_name}>"


class Graph:
    """Executions that depend on each other. `Client.enqueue_graph` enqueues all of them or none.

    A node depends on nodes that were added before it, so a graph has no circles. The same graph may
    be enqueued several times.

    Example:
        graph = Graph()
        pages = [graph.add("fetch", url) for url in ("a", "b")]
        book = graph.add("bind", "title", after=pages)
        with Client() as client:
            made = client.enqueue_graph(graph)
            assert made[book].get().depends_on == [made[page].execution_id for page in pages]
    """

    def __init__(self) -> None:
        """Begin without nodes."""
        self._batch = api.EnqueueBatchRequest()
        self.nodes: list[Node[Any]] = []

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.nodes)

    @overload
    def add(
        self,
        called: Takes[I, O],
        given: I,
        /,
        *,
        after: Iterable[Node[Any] | Named | str] = (),
        **options: Unpack[NodeOptions],
    ) -> Node[O]: ...
    @overload
    def add(
        self,
        called: TakesNothing[O],
        /,
        *,
        after: Iterable[Node[Any] | Named | str] = (),
        **options: Unpack[NodeOptions],
    ) -> Node[O]: ...
    @overload
    def add(
        self,
        called: str,
        given: object = ABSENT,
        /,
        *,
        after: Iterable[Node[Any] | Named | str] = (),
        **options: Unpack[NodeOptions],
    ) -> Node[Any]: ...
    def add(
        self,
        called: object,
        given: object = ABSENT,
        /,
        *,
        after: Iterable[Node[Any] | Named | str] = (),
        **options: Any,
    ) -> Node[Any]:
        """Add an execution, and return its node.

        Args:
            called: the callable's name, or the decorated function, which brings its types and
                its defaults.
            given: its input, as in `Client.enqueue`.
            after: what must complete first: nodes of this graph, and handles or ids of executions
                that exist. At most 256.
            options: see `EnqueueOptions`. The graph as a whole has the `request_id`.

        Raises:
            InvalidInputError: the input or the options cannot be sent, or a node is one of another
                graph. The graph is as it was.
        """
        name, target = resolve(called, given)
        if unknown := {"request_id", "call_timeout"} & set(options):
            raise InvalidInputError(f"{min(unknown)} is an option of enqueue_graph, not of a node")
        positions, others = self._split(after)
        defaults = {} if target is None else target.defaults
        request = api.EnqueueRequest()
        fill(request, "", name, given, merged(defaults, {**options, "after": others}))
        check_size(request)
        request.depends_on_items.extend(positions)
        self._batch.items.append(request)
        node = Node[Any](self, len(self.nodes), name, target)
        self.nodes.append(node)
        return node

    def _split(
        self, after: Iterable[Node[Any] | Named | str]
    ) -> tuple[list[int], list[Named | str]]:
        if isinstance(after, str):
            raise InvalidInputError("after must be a list of nodes, handles or ids")
        positions: list[int] = []
        others: list[Named | str] = []
        for one in after:
            if not isinstance(one, Node):
                others.append(one)
            elif one.graph is self:
                positions.append(one.position)
            else:
                raise InvalidInputError(f"after names {one!r}, which is of another graph")
        return positions, others

    def request(self, tenant_id: str, request_id: str) -> api.EnqueueBatchRequest:
        """Return the message that enqueues the graph."""
        batch = api.EnqueueBatchRequest()
        batch.CopyFrom(self._batch)
        batch.tenant_id, batch.request_id = tenant_id, request_id
        return batch


class _Made(Generic[H]):
    """The handles of a graph that was enqueued.

    Attributes:
        existing: whether the request id led to a graph that was enqueued before.
    """

    __slots__ = ("_graph", "_handles", "existing")

    def __init__(self, graph: Graph, handles: Sequence[H], *, existing: bool) -> None:
        """Keep the handles; made by a client."""
        self._graph = graph
        self._handles = handles
        self.existing = existing

    def __iter__(self) -> Iterator[H]:
        """Go through the handles in the order of the nodes."""
        return iter(self._handles)

    def __len__(self) -> int:
        """Return the number of handles."""
        return len(self._handles)

    def _of(self, node: Node[Any]) -> Any:  # noqa: ANN401  # with the type of the node
        if node.graph is not self._graph:
            raise KeyError(node)
        return self._handles[node.position]


class GraphHandles(_Made["Handle[Any]"]):
    """The handles of a graph that was enqueued, by node or in the order of the nodes.

    Attributes:
        existing: whether the request id led to a graph that was enqueued before.
    """

    __slots__ = ()

    def __getitem__(self, node: Node[O]) -> Handle[O]:
        """Return the handle of a node."""
        handle: Handle[O] = self._of(node)
        return handle


class AsyncGraphHandles(_Made["AsyncHandle[Any]"]):
    """The handles of a graph that was enqueued; see `GraphHandles`.

    Attributes:
        existing: whether the request id led to a graph that was enqueued before.
    """

    __slots__ = ()

    def __getitem__(self, node: Node[O]) -> AsyncHandle[O]:
        """Return the handle of a node."""
        handle: AsyncHandle[O] = self._of(node)
        return handle
