"""Tests of one part at a time, with nothing started."""
