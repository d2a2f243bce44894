"""The command `backlane demo`: two crashes in the middle of real work, and nothing lost."""

from backlane.cli.demo.command import command

__all__ = ["command"]
