"""The gRPC server, which moves bytes between the network and the core."""
