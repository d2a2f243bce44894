"""The runner of `scenarios/` over gRPC."""
