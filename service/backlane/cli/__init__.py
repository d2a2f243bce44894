"""The command `backlane`."""

from backlane.cli.main import main

__all__ = ["main"]
