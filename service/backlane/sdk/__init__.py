"""What the two halves of the SDK, clients and workers, share about calls and executions.

Owns no call: a client makes calls of its own, and a worker makes them under its leases.
"""
