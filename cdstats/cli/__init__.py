"""Floor 5: the command line. ``app`` is the Typer object, ``run`` the entry point."""

from cdstats.cli.main import app, run

__all__ = ["app", "run"]
