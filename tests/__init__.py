"""The tests of Backlane, and the two commands for its developers."""
