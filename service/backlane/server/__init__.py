"""The gRPC server: moves bytes between the network and the core, and decides nothing else."""
