"""Clients: they enqueue executions, follow them, and fetch their results."""

from backlane.client.async_client import AsyncClient
from backlane.client.client import Client
from backlane.client.graph import Graph, Node
from backlane.client.handle import AsyncHandle, Handle
from backlane.client.redrive_many import AsyncRedriveMany, RedriveMany, RedriveOutcome
from backlane.client.waits import WaitResult

__all__ = [
    "AsyncClient",
    "AsyncHandle",
    "AsyncRedriveMany",
    "Client",
    "Graph",
    "Handle",
    "Node",
    "RedriveMany",
    "RedriveOutcome",
    "WaitResult",
]
