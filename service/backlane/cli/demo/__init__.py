"""The command `backlane demo`: real work that loses nothing to two crashes."""

from backlane.cli.demo.command import command

__all__ = ["command"]
