"""Callers of a Backlane server, built on the contract alone."""
