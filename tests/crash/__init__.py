"""Crashes under load: what was acknowledged has to be there afterwards, once."""
