"""What tests, the demo and the benchmark share: a real Backlane server as a subprocess."""

from backlane.testing.server import ServerProcess, ServerStartError

__all__ = ["ServerProcess", "ServerStartError"]
