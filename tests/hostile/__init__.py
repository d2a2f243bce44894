"""Attacks on a server, each with a good client beside it."""
