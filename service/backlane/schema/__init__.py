"""The domain's records as Python sees them, above the generated messages.

Clients, workers and deliveries share what is here; it knows the contract and nothing else.
"""
