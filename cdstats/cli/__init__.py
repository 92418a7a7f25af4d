"""Floor 5: the command line. ``app`` is the Typer object, ``run`` the entry point."""

import gc

# Imports create many objects but no garbage, so frequent collections only cost time.
gc.set_threshold(50_000)

from cdstats.cli.main import app, run  # noqa: E402

__all__ = ["app", "run"]
