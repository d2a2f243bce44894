"""Crash tests under load: every acknowledged execution has to exist afterwards, exactly once."""
