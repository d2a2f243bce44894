"""The tests of Backlane, and the two commands its developers run."""
