"""Clients: what enqueues executions, follows them, and fetches their results."""

from backlane.client.aio import AsyncClient
from backlane.client.base import WaitResult
from backlane.client.handle import AsyncHandle, Handle
from backlane.client.sync import Client

__all__ = ["AsyncClient", "AsyncHandle", "Client", "Handle", "WaitResult"]
