"""Tests of the promises of the protocol, through a channel only."""
