"""Tests of a real server, over the network."""
