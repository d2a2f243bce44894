"""Clients in other languages, and what tests need to build and run them."""
