"""Floor 5: the command line. ``app`` is the Typer object, ``run`` the entry point."""

import gc

# Loading modules makes many objects and no garbage, which the collector would look for
# hundreds of times.
gc.set_threshold(50_000)

from cdstats.cli.main import app, run  # noqa: E402

__all__ = ["app", "run"]
